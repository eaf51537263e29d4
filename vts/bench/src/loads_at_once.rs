// SPDX-License-Identifier: Apache-2.0
//! Loads that go on at the same time, as those of several clients do: what the raw limit at its best depth compares with.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{anyhow, ensure, Result};
use dmabuf_engine::path::Path;
use dmabuf_engine::request::{Policy, Target};
use dmabuf_engine::{Buffer, Engine};
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::files::Mode;

use crate::bench::{Bench, Case, Setup};
use crate::engine_paths::{engine, load_part, new_buffer, CLIENT, SYSTEM_HEAP};
use crate::seed::load::offsets_bytes;

/// Loads at a time, a thread each.
const AT_ONCE: [u64; 3] = [1, 2, 4];

/// Measures them, by copy_file_range, into buffers that are there.
pub fn run(bench: &mut Bench) -> Result<()> {
    let method = format!("{SYSTEM_HEAP} {}, loads at once", Path::CopyFileRange);
    if !bench.wants(&method) {
        return Ok(());
    }
    let engine = engine();
    for at_once in AT_ONCE {
        let (bytes, buffers) = (bench.setup.total_bytes(), u64::from(bench.setup.buffers));
        let case = Case::new(Kind::Engine, &method, Direction::Load, bytes, buffers)
            .with("buffer_bytes", bench.setup.buffer_bytes)
            .with("loads_at_once", at_once);
        bench.measure(case, |setup| load(setup, &engine, at_once))?;
    }
    Ok(())
}

fn load(setup: &Setup, engine: &Engine, at_once: u64) -> Result<Phases> {
    let file = setup.source.open(Mode::Direct)?;
    let len_bytes = setup.buffer_bytes;
    let (buffers, create) = setup.meter.measure(|| {
        let new = new_buffer(SYSTEM_HEAP, len_bytes);
        let allocate = |_| Ok(engine.allocate(&new, CLIENT)?);
        (0..setup.buffers).map(allocate).collect::<Result<Vec<Buffer>>>()
    })?;
    let offsets: Vec<u64> = offsets_bytes(len_bytes).take(buffers.len()).collect();
    let next = AtomicUsize::new(0);
    let load_some = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(buffer) = buffers.get(index) else { return Ok(()) };
        let target = Target::Existing(buffer.fd.as_fd());
        let policy = Policy::Named(Path::CopyFileRange);
        let outcome = load_part(engine, policy, target, &file, offsets[index], len_bytes)?;
        ensure!(outcome.segment_bytes == [len_bytes], "short: {:?}", outcome.segment_bytes);
    };
    let ((), io) = setup.meter.measure(|| {
        thread::scope(|scope| {
            let others: Vec<_> = (1..at_once).map(|_| scope.spawn(load_some)).collect();
            let own = load_some();
            others.into_iter().try_for_each(|other| {
                other.join().map_err(|_| anyhow!("a loading thread panicked"))?
            })?;
            own
        })
    })?;
    for (buffer, offset_bytes) in buffers.iter().zip(offsets) {
        setup.source.verify(buffer.fd.as_fd(), len_bytes, offset_bytes)?;
    }
    let ((), close) = setup.meter.measure(|| {
        drop(buffers);
        Ok(())
    })?;
    Ok(Phases { create: Some(create), io: Some(io), close: Some(close) })
}
