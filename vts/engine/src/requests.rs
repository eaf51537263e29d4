// SPDX-License-Identifier: Apache-2.0
//! Requests that are queued for another thread: cancelled in the middle by each path, and watched.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Context as _, Result};
use dmabuf_engine::request::{LoadRequest, Policy, SaveRequest, Target};
use dmabuf_engine::{
    CancelToken, ClientId, Context, Engine, EngineError, PathName, PoolConfig, Progress,
    ProgressSink,
};
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapped_buffer::MappedBuffer;
use libtest_mimic::Trial;
use vts_support::files::{Files, Mode, TestFile};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::assert_same;
use vts_support::wait::wait_until;

use crate::load::{allocate, engine, made, new_buffer, owned, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const HEAPS: [&str; 2] = ["system", "udmabuf"];
/// Large enough for several calls in flight.
const SIZE_BYTES: u64 = 96 << 20;
/// What a watched load moves with each call, in at most so many threads.
const BATCH_BYTES: u64 = 4 << 20;
const THREADS: u64 = 4;

pub fn trials() -> Vec<Trial> {
    let policies = [
        ("auto", Policy::AUTO),
        ("copy_file_range", Policy::only(PathName::CopyFileRange)),
        ("udmabuf_direct", Policy::only(PathName::UdmabufDirect)),
        ("bounce", Policy::only(PathName::Bounce)),
        ("buffered", Policy::only(PathName::Buffered)),
    ];
    let mut trials = Vec::new();
    for heap in HEAPS {
        for (name, policy) in policies {
            let cancelled = format!("a_cancelled_load_frees_its_memory/{name}/{heap}");
            trials.push(trial("requests", &cancelled, move || cancelled_load(heap, policy)));
        }
        let watched = format!("progress_of_a_large_load_is_seen/{heap}");
        trials.push(trial("requests", &watched, move || watched_load(heap)));
        let late = format!("a_load_ends_at_its_deadline/{heap}");
        trials.push(trial("requests", &late, move || late_load(heap)));
        let save = format!("a_cancelled_save_ends_in_the_middle/{heap}");
        trials.push(trial("requests", &save, move || cancelled_save(heap)));
    }
    trials
}

/// Cancels the request once it has moved so many bytes.
struct Watcher {
    cancel_at_bytes: u64,
    cancel: CancelToken,
    seen: Mutex<Vec<Progress>>,
}

impl ProgressSink for Watcher {
    fn on_progress(&self, progress: Progress) {
        self.seen.lock().expect("no sink panics").push(progress);
        if progress.moved_bytes >= self.cancel_at_bytes {
            self.cancel.cancel();
        }
    }
}

impl Watcher {
    /// A watcher, and the context of the request that it watches.
    fn new(cancel_at_bytes: u64) -> (Arc<Self>, Context) {
        let cancel = CancelToken::default();
        let seen = Mutex::default();
        let watcher = Arc::new(Self { cancel_at_bytes, cancel: cancel.clone(), seen });
        let progress: Arc<dyn ProgressSink> = Arc::clone(&watcher) as _;
        (watcher, Context { cancel, progress: Some(progress), ..Context::new(CLIENT) })
    }

    fn last_bytes(&self) -> u64 {
        let seen = self.seen.lock().expect("no sink panics");
        seen.last().map_or(0, |progress| progress.moved_bytes)
    }
}

fn whole_file(heap: &str, policy: Policy, file: &TestFile) -> Result<LoadRequest> {
    let target = Target::New(new_buffer(heap, 0));
    let load = LoadRequest::new(target, vec![owned(file.open(Mode::Direct)?)], vec![WHOLE]);
    Ok(LoadRequest { policy, ..load })
}

/// The dma-bufs that this process holds an fd of.
fn dma_bufs() -> Result<usize> {
    let fds = std::fs::read_dir("/proc/self/fd")?.flatten();
    let links = fds.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    Ok(links.filter(|link| link.starts_with(Path::new("/dmabuf:"))).count())
}

/// Memory that is free or holds only pages of files, in bytes. MemAvailable would be less by a
/// watermark that depends on how many such pages there are.
fn unused_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let figure = |key: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.split_ascii_whitespace().next());
        Ok(kib.with_context(|| format!("no {key} in /proc/meminfo"))?.parse::<u64>()? << 10)
    };
    Ok(figure("MemFree:")? + figure("Active(file):")? + figure("Inactive(file):")?)
}

fn cancelled_load(heap: &str, policy: Policy) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 31, SIZE_BYTES)?;
    let engine = Arc::new(engine(PoolConfig::OFF));
    let cancel_at_bytes = SIZE_BYTES / 4;
    let (watcher, context) = Watcher::new(cancel_at_bytes);
    let prepared = match engine.prepare_load(whole_file(heap, policy, &file)?, &context) {
        Err(error @ EngineError::PathUnavailable { .. }) => return Err(skip(error.to_string())),
        prepared => prepared?,
    };
    ensure!(prepared.new_buffer_bytes() == SIZE_BYTES && prepared.total_bytes() == SIZE_BYTES);
    ensure!(dma_bufs()? == 0, "preparing has allocated");
    let before = unused_bytes()?;
    let (other, queued_context) = (Arc::clone(&engine), context.clone());
    let queued = std::thread::spawn(move || other.run_load(prepared, &queued_context).map(drop));
    let ended = queued.join().map_err(|_| anyhow!("the load has panicked"))?;
    ensure!(ended == Err(EngineError::Cancelled), "{ended:?}");
    let moved = watcher.last_bytes();
    let at_most_bytes = cancel_at_bytes + THREADS * BATCH_BYTES;
    ensure!(
        (cancel_at_bytes..=at_most_bytes).contains(&moved),
        "cancelled at {cancel_at_bytes}, {moved} bytes moved, at most {at_most_bytes} expected"
    );
    ensure!(dma_bufs()? == 0, "the buffer is still open");
    // The kernel frees the pages of a closed buffer a little later.
    let is_free = |unused: &u64| unused + SIZE_BYTES / 2 > before;
    let cached = file.buffered()?;
    let unused = || {
        // Pages that the load has brought in are not all in the lists that are counted.
        vts_support::files::drop_cache(&cached)?;
        unused_bytes()
    };
    wait_until(Duration::from_secs(15), "the buffer's memory is free", unused, is_free)
}

fn watched_load(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let len_bytes = 256 << 20;
    let file = files.patterned("f", 32, len_bytes)?;
    let engine = engine(PoolConfig::OFF);
    let (watcher, context) = Watcher::new(u64::MAX);
    let outcome = match engine.load(whole_file(heap, Policy::REQUIRE_DIRECT, &file)?, &context) {
        Err(EngineError::DirectIoUnavailable { .. }) => {
            engine.load(whole_file(heap, Policy::AUTO, &file)?, &context)?
        }
        outcome => outcome?,
    };
    println!("INFO: {:?}", outcome.report.path());
    ensure!(outcome.segment_bytes == [len_bytes]);
    let seen = watcher.seen.lock().expect("no sink panics").clone();
    ensure!(seen.len() >= 8, "only {} reports: {seen:?}", seen.len());
    ensure!(seen.is_sorted_by(|a, b| a.moved_bytes < b.moved_bytes), "{seen:?}");
    ensure!(seen.iter().all(|progress| progress.total_bytes == len_bytes), "{seen:?}");
    ensure!(watcher.last_bytes() == len_bytes, "{seen:?}");
    let buffer = made(outcome)?;
    let mapped = MappedBuffer::of_dma_buf(buffer.fd.as_fd(), 0..len_bytes, CpuAccess::READ)?;
    let mut piece = vec![0; 4 << 20];
    for offset in (0..len_bytes).step_by(piece.len()) {
        mapped.read(offset, &mut piece)?;
        assert_same(&piece, &file.expected(offset, piece.len()), &format!("at {offset}"));
    }
    mapped.finish()?;
    Ok(())
}

fn late_load(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 33, SIZE_BYTES)?;
    let engine = engine(PoolConfig::OFF);
    let policy = Policy::only(PathName::Buffered);
    let load = |deadline| {
        let request = whole_file(heap, policy, &file)?;
        let begin = Instant::now();
        let context = Context { deadline: Some(begin + deadline), ..Context::new(CLIENT) };
        let ended = engine.load(request, &context).map(drop);
        Ok::<_, anyhow::Error>((ended, begin.elapsed()))
    };
    let (whole, took) = load(Duration::from_secs(600))?;
    whole.context("a load with time enough")?;
    let (ended, _) = load(took / 4)?;
    ensure!(ended == Err(EngineError::DeadlineExceeded), "{ended:?}");
    ensure!(dma_bufs()? == 0, "the buffer is still open");
    Ok(())
}

fn cancelled_save(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let engine: Engine = engine(PoolConfig::OFF);
    let buffer = allocate(&engine, CLIENT, &new_buffer(heap, SIZE_BYTES))?;
    for name in [PathName::CopyFileRange, PathName::Bounce, PathName::Buffered] {
        let target = files.patterned("target", 34, 4096)?;
        let save = SaveRequest {
            buffer: owned(&buffer.fd),
            files: vec![owned(Mode::Buffered.open_output(target.path())?)],
            segments: vec![WHOLE],
            policy: Policy::only(name),
        };
        let (watcher, context) = Watcher::new(SIZE_BYTES / 4);
        match engine.save(save, &context) {
            Err(EngineError::PathUnavailable { reasons, .. }) => {
                println!("INFO: {name}: {reasons}")
            }
            Err(EngineError::Cancelled) => {
                let moved = watcher.last_bytes();
                ensure!((SIZE_BYTES / 4..SIZE_BYTES).contains(&moved), "{name}: {moved}");
            }
            other => return Err(anyhow!("{name}: {other:?}")),
        }
    }
    Ok(())
}
