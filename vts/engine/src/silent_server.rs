// SPDX-License-Identifier: Apache-2.0
//! Tests of files whose server, a FUSE process, has stopped to answer: a request with such a file
//! ends at once, in each role, and no thread is lost.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context as _, Result};
use dmabuf_engine::request::{LoadRequest, Policy, SaveRequest, Target};
use dmabuf_engine::{
    ClientId, Context, Engine, EngineConfig, EngineError, FileSystems, PoolConfig, UnclosedFiles,
};
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use vts_support::files::{Files, TestFile};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::assert_same;
use vts_support::wait::wait_until;
use vts_uapi::fuse::SilentFuse;

use crate::load::{allocate, contents, made, new_buffer, owned, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const SIZE_BYTES: u64 = 100_000;
/// A request that takes longer waits for the server.
const PATIENCE: Duration = Duration::from_secs(10);
/// More requests than the engine has threads and places for fds that it cannot close.
const REQUESTS: usize = 100;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("silent_server", "a_load_is_refused_at_once", refused_loads),
        trial("silent_server", "a_save_is_refused_at_once", refused_saves),
        trial("silent_server", "many_requests_lose_few_threads", many_requests),
        trial("silent_server", "a_mount_is_known_as_soon_as_it_is_there", new_mounts),
    ]
}

/// Dropped from the top: the connection ends before anything is closed.
struct Rig {
    fuse: SilentFuse,
    /// The file of the silent server.
    silent: File,
    engine: Arc<Engine>,
    ordinary: TestFile,
    files: Files,
}

impl Rig {
    fn new() -> Result<Self> {
        let files = Files::new()?;
        let ordinary = files.patterned("ordinary", 81, SIZE_BYTES)?;
        let fuse = mount(&files, "fuse")?;
        let silent = OpenOptions::new().read(true).write(true).open(fuse.file());
        let silent = silent.context("opening a FUSE file")?;
        fuse.fall_silent();
        Ok(Self { fuse, silent, engine: Arc::new(device_engine()), ordinary, files })
    }

    /// Another fd of the file.
    fn silent(&self) -> OwnedFd {
        owned(&self.silent)
    }

    /// Runs a request and fails if it does not end in time. No test may wait for it: it could take
    /// until the connection ends.
    fn in_time<T: Send + 'static>(
        &self,
        what: &str,
        request: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, ended) = mpsc::channel();
        let engine = Arc::clone(&self.engine);
        thread::spawn(move || sender.send(request(&engine)));
        ended.recv_timeout(PATIENCE).with_context(|| format!("{what} waits for the server"))
    }

    /// Ends the connection; then what could not be closed is closed.
    fn end(self) -> Result<()> {
        let Self { fuse, silent, engine, files, .. } = self;
        drop(fuse);
        drop(silent);
        let none = UnclosedFiles::default();
        let unclosed = || Ok(UnclosedFiles { lost: 0, ..engine.unclosed_files() });
        wait_until(PATIENCE, "all files are closed", unclosed, |unclosed| *unclosed == none)?;
        drop(files);
        Ok(())
    }
}

fn device_engine() -> Engine {
    let file_systems = FileSystems::without_server_and([]);
    Engine::new(EngineConfig { file_systems, ..EngineConfig::new(false, PoolConfig::OFF) })
}

fn mount(files: &Files, name: &str) -> Result<SilentFuse> {
    let directory = files.path(name);
    std::fs::create_dir(&directory)?;
    match SilentFuse::mount(&directory) {
        Err(errno @ (Errno::NOENT | Errno::NODEV)) => Err(skip(format!("no FUSE: {errno}"))),
        fuse => fuse.context("mounting a FUSE file system"),
    }
}

fn new_target() -> Target {
    Target::New(new_buffer("system", SIZE_BYTES))
}

fn ensure_refused<T: std::fmt::Debug>(answer: dmabuf_engine::Result<T>) -> Result<()> {
    let error = answer.err().context("the request succeeded")?;
    ensure!(matches!(error, EngineError::FileSystem { .. }), "{error}");
    ensure!(error.to_string().contains("of type fuse, expected one of f2fs"), "{error}");
    Ok(())
}

fn refused_loads() -> Result<()> {
    let rig = Rig::new()?;
    let context = || Context::new(CLIENT);

    let alone = LoadRequest::new(new_target(), vec![rig.silent()], vec![WHOLE]);
    ensure_refused(rig.in_time("a load", move |engine| engine.load(alone, &context()))?)?;

    let ordinary = || -> Result<OwnedFd> { Ok(owned(rig.ordinary.buffered()?)) };
    let files = vec![ordinary()?, rig.silent(), ordinary()?];
    let between = LoadRequest::new(new_target(), files, vec![WHOLE]);
    ensure_refused(
        rig.in_time("a load of 3 files", move |engine| engine.load(between, &context()))?,
    )?;

    let files = vec![ordinary()?];
    let target = LoadRequest::new(Target::Existing(rig.silent()), files, vec![WHOLE]);
    let answer = rig.in_time("a load into it", move |engine| engine.load(target, &context()))?;
    ensure!(matches!(answer, Err(EngineError::UnsupportedFile { .. })), "{answer:?}");

    // What ends before the file is looked at must not close it, either.
    let cancelled = context();
    cancelled.cancel.cancel();
    let request = LoadRequest::new(new_target(), vec![rig.silent()], vec![WHOLE]);
    let answer = rig.in_time("a cancelled load", move |engine| engine.load(request, &cancelled))?;
    ensure!(matches!(answer, Err(EngineError::Cancelled)), "{answer:?}");

    rig.end()
}

fn refused_saves() -> Result<()> {
    let rig = Rig::new()?;
    let buffer = allocate(&rig.engine, CLIENT, &new_buffer("system", SIZE_BYTES))?;
    let ordinary = owned(rig.ordinary.buffered()?);
    let context = || Context::new(CLIENT);

    let save = |buffer, file| SaveRequest {
        buffer,
        files: vec![file],
        segments: vec![WHOLE],
        policy: Policy::AUTO,
    };
    let to_it = save(owned(&buffer.fd), rig.silent());
    ensure_refused(rig.in_time("a save", move |engine| engine.save(to_it, &context()))?)?;

    let of_it = save(rig.silent(), ordinary);
    let answer = rig.in_time("a save of it", move |engine| engine.save(of_it, &context()))?;
    ensure!(matches!(answer, Err(EngineError::UnsupportedFile { .. })), "{answer:?}");

    rig.end()
}

/// The threads of this process.
fn threads() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

fn many_requests() -> Result<()> {
    let rig = Rig::new()?;
    let before = threads()?;
    for _ in 0..REQUESTS {
        let load = LoadRequest::new(new_target(), vec![rig.silent()], vec![WHOLE]);
        let context = Context::new(CLIENT);
        ensure_refused(rig.in_time("a load", move |engine| engine.load(load, &context))?)?;
    }
    let unclosed = rig.engine.unclosed_files();
    println!("INFO: {unclosed:?}");
    // Threads that ran requests may be ending.
    wait_until(PATIENCE, "three threads more at most", threads, |now| *now <= before + 3)?;
    ensure!(unclosed.waiting + unclosed.lost as usize == REQUESTS, "{unclosed:?}");

    let ordinary = owned(rig.ordinary.buffered()?);
    let load = LoadRequest::new(new_target(), vec![ordinary], vec![WHOLE]);
    let context = Context::new(CLIENT);
    let loaded = rig.in_time("an ordinary load", move |engine| engine.load(load, &context))??;
    let expected = rig.ordinary.expected(0, SIZE_BYTES as usize);
    assert_same(&contents(&made(loaded)?)?[..expected.len()], &expected, "an ordinary load");

    rig.end()
}

/// The engine remembers the mounts that it has seen.
fn new_mounts() -> Result<()> {
    let files = Files::new()?;
    let ordinary = files.patterned("ordinary", 82, SIZE_BYTES)?;
    let engine = device_engine();
    let load = |file: File| {
        let load = LoadRequest::new(new_target(), vec![file.into()], vec![WHOLE]);
        engine.load(load, &Context::new(CLIENT)).map(drop)
    };
    load(ordinary.buffered()?)?;
    for round in ["first", "second"] {
        let fuse = mount(&files, round)?;
        // The server answers, so that this test would see a load.
        ensure_refused(load(File::open(fuse.file())?))?;
        drop(fuse);
        load(ordinary.buffered()?)?;
    }
    Ok(())
}
