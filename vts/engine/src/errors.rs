// SPDX-License-Identifier: Apache-2.0
//! Tests of whom an error blames: the client's fd, the storage, or a lack of space.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure, Context as _, Result};
use dmabuf_engine::request::{Length, LoadRequest, Policy, SaveRequest, Segment, Target};
use dmabuf_engine::{ClientId, Context, Engine, EngineError, Fault, PathName, PoolConfig};
use libtest_mimic::Trial;
use rustix::fs::{fcntl_add_seals, fstatvfs, memfd_create, MemfdFlags, SealFlags};
use vts_support::files::Files;
use vts_support::outcome::{skip, trial};

use crate::load::{allocate, engine, new_buffer, owned, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const HEAPS: [&str; 2] = ["system", "udmabuf"];
const MIB: u64 = 1 << 20;
const POLICIES: [Policy; 4] = [
    Policy::AUTO,
    Policy::only(PathName::CopyFileRange),
    Policy::only(PathName::Bounce),
    Policy::only(PathName::Buffered),
];

type Test = fn(&str) -> Result<()>;

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 4] = [
        ("a_save_to_a_sealed_memfd_blames_the_fd", sealed_memfd),
        ("a_save_past_the_largest_file_lacks_space", past_the_largest_file),
        ("a_save_to_a_full_file_system_lacks_space", full_file_system),
        ("files_without_storage_are_refused", files_without_storage),
    ];
    tests
        .into_iter()
        .flat_map(|(name, test)| HEAPS.map(|heap| (name, test, heap)))
        .map(|(name, test, heap)| trial("errors", &format!("{name}/{heap}"), move || test(heap)))
        .collect()
}

/// Saves the start of a new zeroed buffer of `size_bytes` to a place in a file.
fn save(
    engine: &Engine,
    heap: &str,
    size_bytes: u64,
    policy: Policy,
    file: impl AsFd,
    file_offset_bytes: u64,
) -> Result<EngineError> {
    let buffer = allocate(engine, CLIENT, &new_buffer(heap, size_bytes))?;
    let segment = Segment { file_offset_bytes, length: Length::Bytes(size_bytes), ..WHOLE };
    let request = SaveRequest {
        buffer: buffer.fd,
        files: vec![owned(file)],
        segments: vec![segment],
        policy,
    };
    match engine.save(request, &Context::new(CLIENT)) {
        Ok(_) => bail!("{policy:?}: saved"),
        Err(error) => Ok(error),
    }
}

/// Fails unless the error blames `fault`; a path that does not exist here blames nobody.
fn expect_fault(policy: Policy, error: EngineError, fault: Fault) -> Result<()> {
    println!("INFO: {policy:?}: {error}");
    match error {
        EngineError::PathUnavailable { .. } if policy != Policy::AUTO => Ok(()),
        _ if error.fault() == Some(fault) => Ok(()),
        _ => Err(anyhow!("{policy:?}: expected {fault:?}, got {:?}: {error}", error.fault())),
    }
}

fn sealed_memfd(heap: &str) -> Result<()> {
    let engine = engine(PoolConfig::OFF);
    let memfd = memfd_create("vts-sealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&memfd, MIB)?;
    fcntl_add_seals(&memfd, SealFlags::WRITE)?;
    for policy in POLICIES {
        match save(&engine, heap, MIB, policy, &memfd, 0)? {
            // An engine that takes no memfd as a file blames the client as well.
            EngineError::UnsupportedFile { .. } => {}
            error => expect_fault(policy, error, Fault::BadFd)?,
        }
    }
    Ok(())
}

fn past_the_largest_file(heap: &str) -> Result<()> {
    let engine = engine(PoolConfig::OFF);
    let files = Files::new()?;
    let file = File::create(files.path("f"))?;
    for policy in POLICIES {
        let error = save(&engine, heap, MIB, policy, &file, 1 << 61)?;
        expect_fault(policy, error, Fault::NoSpace)?;
    }
    ensure!(file.metadata()?.len() == 0, "the file has grown");
    Ok(())
}

/// A file system of at most this size is filled; a larger one would take too long.
const MAX_FILLED_BYTES: u64 = 128 * MIB;

fn full_file_system(heap: &str) -> Result<()> {
    let dir = small_file_system()?;
    let engine = engine(PoolConfig::OFF);
    for policy in POLICIES {
        let files = Files::new_in(&dir)?;
        let file = File::create(files.path("f"))?;
        let error = save(&engine, heap, MAX_FILLED_BYTES, policy, &file, 0)?;
        expect_fault(policy, error, Fault::NoSpace)?;
    }
    Ok(())
}

fn small_file_system() -> Result<PathBuf> {
    let dirs = std::env::var("DMABUF_TEST_MORE_DIRS").unwrap_or_default();
    for dir in dirs.split(':').filter(|dir| !dir.is_empty()) {
        let found = fstatvfs(File::open(dir).with_context(|| dir.to_owned())?)?;
        if found.f_blocks * found.f_frsize < MAX_FILLED_BYTES {
            return Ok(dir.into());
        }
    }
    Err(skip("$DMABUF_TEST_MORE_DIRS has no small file system"))
}

/// They are regular files by their mode.
fn files_without_storage(heap: &str) -> Result<()> {
    let engine = engine(PoolConfig::OFF);
    let sources = ["/proc/self/status", "/proc/self/ns/mnt", SHMEM_ENABLED, CGROUP_PROCS];
    for path in sources.map(Path::new).into_iter().filter(|path| path.exists()) {
        let source = File::open(path).with_context(|| format!("{path:?}"))?;
        let target = Target::New(new_buffer(heap, 4096));
        let load = LoadRequest::new(target, vec![owned(&source)], vec![WHOLE]);
        expect_unsupported(path, engine.load(load, &Context::new(CLIENT)).map(drop))?;
    }
    let targets = ["/proc/self/oom_score_adj", SHMEM_ENABLED, CGROUP_PROCS];
    for path in targets.map(Path::new).into_iter().filter(|path| path.exists()) {
        let target = OpenOptions::new().write(true).open(path);
        let target = OwnedFd::from(target.with_context(|| format!("{path:?}"))?);
        let buffer = allocate(&engine, CLIENT, &new_buffer(heap, 4096))?;
        let save = SaveRequest {
            buffer: buffer.fd,
            files: vec![target],
            segments: vec![Segment { length: Length::Bytes(1), ..WHOLE }],
            policy: Policy::AUTO,
        };
        expect_unsupported(path, engine.save(save, &Context::new(CLIENT)).map(drop))?;
    }
    Ok(())
}

const SHMEM_ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
const CGROUP_PROCS: &str = "/sys/fs/cgroup/cgroup.procs";

fn expect_unsupported(path: &Path, result: dmabuf_engine::Result<()>) -> Result<()> {
    match result {
        Err(EngineError::UnsupportedFile { .. }) => Ok(()),
        other => Err(anyhow!("{path:?}: expected UnsupportedFile, got {other:?}")),
    }
}
