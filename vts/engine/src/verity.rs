// SPDX-License-Identifier: Apache-2.0
//! Tests of fs-verity files whose bytes on the disk no longer match their digest: no path loads the
//! changed bytes.

use std::fs::{metadata, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use anyhow::{bail, ensure, Context, Result};
use dmabuf_engine::request::{
    DigestRequest, FileDigest, Length, LoadRequest, Policy, Segment, Target,
};
use dmabuf_engine::{
    ClientId, Context as RequestContext, Digest, Engine, EngineError, LoadOutcome, PathName,
    PoolConfig,
};
use dmabuf_uapi::fs_verity::measure;
use dmabuf_uapi::mapping::Mapping;
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use rustix::fs::OFlags;
use vts_support::files::{drop_cache, Files, Mode};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::{assert_same, UNTOUCHED};
use vts_uapi::fiemap::extents;

use crate::file_kinds::copies_files;
use crate::kind_files::{self, KindFile};
use crate::load::{contents, engine, made, new_buffer, owned, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const HEAPS: [&str; 2] = ["system", "udmabuf"];
const BLOCK_BYTES: usize = 4096;
/// The offset of the block that is changed on the disk.
const CHANGED_OFFSET_BYTES: usize = 100 * BLOCK_BYTES;
const BLOCK_DEVICES: &str = "/dev/block";

pub fn trials() -> Vec<Trial> {
    let policies = [
        ("auto", Policy::AUTO),
        ("copy_file_range", Policy::only(PathName::CopyFileRange)),
        ("buffered", Policy::only(PathName::Buffered)),
    ];
    let loads = policies.into_iter().flat_map(|policy| HEAPS.map(|heap| (policy, heap)));
    loads
        .map(|((name, policy), heap)| {
            let name = format!("a_changed_block_fails/{name}/{heap}");
            trial("verity", &name, move || a_changed_block_fails(policy, heap))
        })
        .collect()
}

fn a_changed_block_fails(policy: Policy, heap: &str) -> Result<()> {
    let engine = engine(PoolConfig::OFF);
    let copies_files = copies_files(&engine, heap)?;
    if policy == Policy::only(PathName::CopyFileRange) && !copies_files {
        return Err(skip("the kernel does not copy from files to buffers"));
    }
    let files = Files::new()?;
    let file = kind_files::verity(&files)?;
    let digest = measure(file.open(Mode::Buffered)?)?;
    let block = part(CHANGED_OFFSET_BYTES, BLOCK_BYTES);
    let before = part(0, CHANGED_OFFSET_BYTES);
    for segment in [WHOLE, block, before] {
        for mode in Mode::ALL {
            let outcome = load(&engine, heap, policy, digest, &file.open(mode)?, segment)?;
            expect_content(outcome, &file, segment)?;
        }
    }

    change_on_disk(&file)?;
    let fds = open_fds()?;
    for mode in Mode::ALL {
        for segment in [WHOLE, block] {
            drop_cache(&file.open(Mode::Buffered)?)?;
            let source = file.open(mode)?;
            // The kernel still returns the digest of the original content.
            ensure!(measure(&source)? == digest);
            match load(&engine, heap, policy, digest, &source, segment) {
                Err(EngineError::Io { errno: Errno::IO, operation }) => {
                    println!("INFO: {mode:?}, {segment:?}: {operation}: EIO");
                }
                other => bail!("{mode:?}, {segment:?}: expected EIO: {other:?}"),
            }
        }
        // The blocks before the changed one still load.
        let outcome = load(&engine, heap, policy, digest, &file.open(mode)?, before)?;
        expect_content(outcome, &file, before)?;
    }
    let left = open_fds()?;
    ensure!(left == fds, "{fds} open fds before, {left} after");
    Ok(())
}

fn part(file_offset_bytes: usize, len_bytes: usize) -> Segment {
    Segment {
        file_offset_bytes: file_offset_bytes as u64,
        length: Length::Bytes(len_bytes as u64),
        ..WHOLE
    }
}

fn load(
    engine: &Engine,
    heap: &str,
    policy: Policy,
    digest: Digest,
    file: &File,
    segment: Segment,
) -> dmabuf_engine::Result<LoadOutcome> {
    let target = Target::New(new_buffer(heap, 0));
    let load = LoadRequest::new(target, vec![owned(file)], vec![segment]);
    let expected_verity = vec![FileDigest { file_index: 0, digest }];
    let digests = DigestRequest { expected_verity, ..DigestRequest::default() };
    engine.load(LoadRequest { policy, digests, ..load }, &RequestContext::new(CLIENT))
}

fn expect_content(outcome: LoadOutcome, file: &KindFile, segment: Segment) -> Result<()> {
    let start = segment.file_offset_bytes as usize;
    let len = usize::try_from(outcome.segment_bytes[0])?;
    ensure!(len > 0, "nothing loaded");
    let bytes = contents(&made(outcome)?)?;
    assert_same(&bytes[..len], &file.content[start..start + len], "loaded");
    Ok(())
}

fn open_fds() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

/// Overwrites one block of the file on the block device, beneath the file system.
fn change_on_disk(file: &KindFile) -> Result<()> {
    let reader = file.open(Mode::Buffered)?;
    let place = device_offset_bytes(&reader, CHANGED_OFFSET_BYTES as u64)?;
    let path = block_device(reader.metadata()?.dev())?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlags::DIRECT.bits() as i32);
    let device = options.open(&path).with_context(|| format!("{path:?}"))?;
    let memory = Mapping::anonymous(BLOCK_BYTES)?;
    memory.pread(0..BLOCK_BYTES, &device, place).context("reading the block device")?;
    let mut found = vec![0; BLOCK_BYTES];
    memory.read(0, &mut found)?;
    // Only a block of this file may be overwritten.
    let expected = &file.content[CHANGED_OFFSET_BYTES..CHANGED_OFFSET_BYTES + BLOCK_BYTES];
    assert_same(&found, expected, "the block on the device");
    found[77] ^= UNTOUCHED;
    memory.write(0, &found)?;
    let written = memory.pwrite(0..BLOCK_BYTES, &device, place);
    let written = written.context("writing the block device")?;
    ensure!(written == BLOCK_BYTES, "{written} bytes written");
    Ok(())
}

fn device_offset_bytes(file: &File, file_offset_bytes: u64) -> Result<u64> {
    let extents = extents(file).context("FS_IOC_FIEMAP")?;
    let around = extents.iter().find(|extent| {
        let start = extent.file_offset_bytes;
        (start..start + extent.len_bytes).contains(&file_offset_bytes)
    });
    let extent = around.with_context(|| format!("no extent has {file_offset_bytes}"))?;
    Ok(extent.device_offset_bytes + (file_offset_bytes - extent.file_offset_bytes))
}

fn block_device(number: u64) -> Result<PathBuf> {
    let entries = std::fs::read_dir(BLOCK_DEVICES).context(BLOCK_DEVICES)?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found = paths.find(|path| metadata(path).is_ok_and(|node| node.rdev() == number));
    found.ok_or_else(|| skip(format!("no node of {BLOCK_DEVICES} is device {number:#x}")))
}
