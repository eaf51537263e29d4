// SPDX-License-Identifier: Apache-2.0
//! Tests of buffers with a fence that does not signal: no request waits for it without a limit, and
//! the pool does not wait at all.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use dmabuf_engine::request::{LoadRequest, Policy, SaveRequest, Target};
use dmabuf_engine::{Buffer, ClientId, Context, EngineError, PathName, PoolConfig};
use dmabuf_uapi::dma_buf::CpuAccess;
use libtest_mimic::Trial;
use rustix::io::Errno;
use vts_support::files::{Files, Mode, TestFile};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::assert_same;
use vts_support::wait::wait_until;
use vts_uapi::sw_sync::Timeline;
use vts_uapi::sync_file;

use crate::load::{allocate, contents, engine, load, made, new_buffer, owned, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const HEAPS: [&str; 2] = ["system", "udmabuf"];
const SIZE_BYTES: u64 = 1 << 20;
/// The engine waits for a second; the rest is for a slow machine.
const BOUND: Duration = Duration::from_secs(4);
/// Long enough for the pool's thread to look at released buffers.
const PATIENCE: Duration = Duration::from_secs(10);

const POLICIES: [(&str, Policy); 4] = [
    ("auto", Policy::AUTO),
    ("copy_file_range", Policy::only(PathName::CopyFileRange)),
    ("bounce", Policy::only(PathName::Bounce)),
    ("buffered", Policy::only(PathName::Buffered)),
];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for heap in HEAPS {
        for (name, policy) in POLICIES {
            let load = format!("a_load_into_a_fenced_buffer_is_busy/{name}/{heap}");
            trials.push(trial("fences", &load, move || fenced_load(heap, policy)));
            let save = format!("a_save_of_a_fenced_buffer_is_busy/{name}/{heap}");
            trials.push(trial("fences", &save, move || fenced_save(heap, policy)));
        }
        let cancelled = format!("cancelling_ends_the_wait_for_a_fence/{heap}");
        trials.push(trial("fences", &cancelled, move || cancelled_wait(heap)));
        let racing = format!("a_fence_that_comes_late_is_not_waited_for/{heap}");
        trials.push(trial("fences", &racing, move || racing_fences(heap)));
        let pool = format!("the_pool_drops_a_fenced_buffer/{heap}");
        trials.push(trial("fences", &pool, move || pool_drops(heap)));
        let small = format!("the_pool_lends_no_small_fenced_buffer/{heap}");
        trials.push(trial("fences", &small, move || small_buffer(heap)));
    }
    trials
}

/// Puts a fence of a device with this access into a buffer, which signals when the timeline
/// advances.
fn fence(buffer: &Buffer, access: CpuAccess) -> Result<Timeline> {
    let timeline = match Timeline::create() {
        Err(Errno::NOENT) => return Err(skip("the kernel has no sw_sync")),
        made => made.context("sw_sync")?,
    };
    sync_file::import(&buffer.fd, timeline.create_fence(1)?, access).context("import")?;
    Ok(timeline)
}

fn load_into(buffer: &OwnedFd, file: &TestFile, policy: Policy) -> Result<LoadRequest> {
    let target = Target::Existing(owned(buffer));
    let load = LoadRequest::new(target, vec![owned(file.direct()?)], vec![WHOLE]);
    Ok(LoadRequest { policy, ..load })
}

/// Runs a request that has to wait for a fence in vain; `false` where its path is not possible.
fn expect_busy<T>(request: impl FnOnce() -> dmabuf_engine::Result<T>) -> Result<bool> {
    let begin = Instant::now();
    let ended = request().map(drop);
    let took = begin.elapsed();
    if let Err(EngineError::PathUnavailable { reasons, .. }) = &ended {
        println!("INFO: {reasons}");
        return Ok(false);
    }
    ensure!(ended == Err(EngineError::Busy), "{ended:?}");
    ensure!(took < BOUND, "BUSY after {took:?}");
    Ok(true)
}

fn fenced_load(heap: &str, policy: Policy) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 41, SIZE_BYTES)?;
    let engine = engine(PoolConfig::OFF);
    // A load has to wait for those who read the buffer, too.
    for access in [CpuAccess::READ, CpuAccess::WRITE] {
        let buffer = allocate(&engine, CLIENT, &new_buffer(heap, SIZE_BYTES))?;
        let timeline = fence(&buffer, access)?;
        let context = Context::new(CLIENT);
        let request = || load_into(&buffer.fd, &file, policy);
        let first = request()?;
        if !expect_busy(|| engine.load(first, &context))? {
            return Ok(());
        }
        ensure!(contents_after(&timeline, &buffer)?.iter().all(|byte| *byte == 0), "touched");
        engine.load(request()?, &context).context("after the fence has signalled")?;
        assert_same(&contents(&buffer)?, &file.expected(0, SIZE_BYTES as usize), "loaded");
    }
    Ok(())
}

/// Signals the fence, and reads the buffer.
fn contents_after(timeline: &Timeline, buffer: &Buffer) -> Result<Vec<u8>> {
    timeline.advance(1)?;
    contents(buffer)
}

fn fenced_save(heap: &str, policy: Policy) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 42, SIZE_BYTES)?;
    let engine = engine(PoolConfig::OFF);
    let context = Context::new(CLIENT);
    let loaded = || -> Result<Buffer> {
        made(load(&engine, CLIENT, new_buffer(heap, 0), Policy::AUTO, &file.direct()?, &[WHOLE])?)
    };
    let output = files.path("output");
    let save = |buffer: &Buffer| -> Result<SaveRequest> {
        Ok(SaveRequest {
            buffer: owned(&buffer.fd),
            files: vec![owned(Mode::Direct.open_output(&output)?)],
            segments: vec![WHOLE],
            policy,
        })
    };
    let written = loaded()?;
    let timeline = fence(&written, CpuAccess::WRITE)?;
    let request = save(&written)?;
    if !expect_busy(|| engine.save(request, &context))? {
        return Ok(());
    }
    timeline.advance(1)?;
    engine.save(save(&written)?, &context).context("after the fence has signalled")?;
    assert_same(&std::fs::read(&output)?, &file.expected(0, SIZE_BYTES as usize), "saved");
    // A device that reads is not in the way of a save.
    let read = loaded()?;
    let _timeline = fence(&read, CpuAccess::READ)?;
    engine.save(save(&read)?, &context).context("beside a device that reads")?;
    Ok(())
}

fn cancelled_wait(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 43, SIZE_BYTES)?;
    let engine = engine(PoolConfig::OFF);
    let buffer = allocate(&engine, CLIENT, &new_buffer(heap, SIZE_BYTES))?;
    let _timeline = fence(&buffer, CpuAccess::WRITE)?;
    let context = Context::new(CLIENT);
    let request = load_into(&buffer.fd, &file, Policy::AUTO)?;
    let begin = Instant::now();
    let ended = std::thread::scope(|scope| {
        let load = scope.spawn(|| engine.load(request, &context).map(drop));
        std::thread::sleep(Duration::from_millis(100));
        context.cancel.cancel();
        load.join().expect("a load does not panic")
    });
    let took = begin.elapsed();
    ensure!(ended == Err(EngineError::Cancelled), "{ended:?}");
    ensure!(took < Duration::from_millis(900), "cancelled after {took:?}");
    Ok(())
}

/// The client makes and signals fences one after the other and leaves the last one as it is: it may
/// come after the engine has waited, and before the call that waits in the kernel.
fn racing_fences(heap: &str) -> Result<()> {
    const ROUNDS: u32 = 12;
    let files = Files::new()?;
    let file = files.patterned("f", 44, SIZE_BYTES)?;
    let engine = engine(PoolConfig::OFF);
    let mut busy = 0;
    for round in 0..ROUNDS {
        let policy = POLICIES[round as usize % POLICIES.len()].1;
        let buffer = allocate(&engine, CLIENT, &new_buffer(heap, SIZE_BYTES))?;
        let timeline = fence(&buffer, CpuAccess::WRITE)?;
        let request = load_into(&buffer.fd, &file, policy)?;
        let begin = Instant::now();
        let (raced, ended) = std::thread::scope(|scope| {
            let race = scope.spawn(|| -> Result<()> {
                let mut value = 1;
                while begin.elapsed() < Duration::from_micros(3000 + 517 * u64::from(round)) {
                    timeline.advance(1)?;
                    value += 1;
                    let next = timeline.create_fence(value)?;
                    sync_file::import(&buffer.fd, next, CpuAccess::WRITE)?;
                }
                Ok(())
            });
            let ended = engine.load(request, &Context::new(CLIENT)).map(drop);
            (race.join().expect("a client does not panic"), ended)
        });
        raced?;
        let took = begin.elapsed();
        ensure!(took < 2 * BOUND, "round {round}: {ended:?} after {took:?}");
        match ended {
            Ok(()) | Err(EngineError::PathUnavailable { .. }) => {}
            Err(EngineError::Busy) => busy += 1,
            other => anyhow::bail!("round {round}: {other:?}"),
        }
    }
    println!("INFO: {busy} of {ROUNDS} loads were refused");
    Ok(())
}

fn pool_drops(heap: &str) -> Result<()> {
    let engine = engine(PoolConfig::of_bytes(64 << 20));
    let stats = || engine.pool_stats().context("the engine has no pool");
    let buffer = allocate(&engine, CLIENT, &new_buffer(heap, SIZE_BYTES))?;
    let _timeline = fence(&buffer, CpuAccess::WRITE)?;
    drop(buffer);
    wait_until(PATIENCE, "it is dropped", stats, |stats| stats.freed == 1 && stats.in_use == 0)?;
    // The pool's thread is not stuck: another buffer comes back and is zeroed.
    let before = stats()?;
    drop(allocate(&engine, CLIENT, &new_buffer(heap, 2 * SIZE_BYTES))?);
    wait_until(PATIENCE, "the next buffer is back and zeroed", stats, |stats| {
        stats.reclaimed == before.reclaimed + 1
            && stats.zeroed_bytes >= before.zeroed_bytes + 2 * SIZE_BYTES
    })
}

/// A request looks itself whether its client has released a small buffer.
fn small_buffer(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let engine = engine(PoolConfig::SMALL_BUFFERS);
    // Their fences do not signal while these live.
    let mut timelines = Vec::new();
    for seed in 0..5 {
        let file = files.patterned("small", seed, 5000)?;
        let begin = Instant::now();
        let new = new_buffer(heap, 0);
        let buffer = made(load(&engine, CLIENT, new, Policy::AUTO, &file.direct()?, &[WHOLE])?)?;
        let took = begin.elapsed();
        assert_same(&contents(&buffer)?[..5000], &file.expected(0, 5000), "loaded");
        timelines.push(fence(&buffer, CpuAccess::WRITE)?);
        ensure!(took < BOUND, "load {seed} took {took:?}");
    }
    let stats = engine.pool_stats().context("the engine has no pool")?;
    ensure!(stats.hits == 0 && stats.reclaimed == 0, "{stats:?}");
    Ok(())
}
