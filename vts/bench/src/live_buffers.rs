// SPDX-License-Identifier: Apache-2.0
//! Measures that the cost per byte does not grow with the number of live buffers or with the size
//! of the file.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context, Result};
use dmabuf_engine::request::{Policy, Target};
use dmabuf_engine::{Buffer, Engine};
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::files::Mode;

use crate::bench::{Bench, Case, Setup};
use crate::engine_paths::{context, load_part, new_buffer, SYSTEM_HEAP};
use crate::source::Source;

/// Numbers of live buffers, including the loaded one.
const LIVE: [u32; 4] = [1, 10, 100, 1000];
/// Loads per number, of which the median is taken: the kernel does background work during some of
/// them.
const SAMPLES: usize = 3;
/// The size of the buffers that are not loaded in the measurement.
const IDLE_BUFFER_BYTES: u64 = 1 << 20;
/// The name of a file made for a measurement of file sizes.
const SIZED: &str = "sized";
const FILE_BYTES: [u64; 4] = [32 << 20, 256 << 20, 1 << 30, 4 << 30];

/// Measures the same load beside a growing number of loaded buffers.
pub fn run(bench: &mut Bench) -> Result<()> {
    let engine = Arc::clone(&bench.setup.engine);
    for live in LIVE.into_iter().flat_map(|live| [live; SAMPLES]) {
        let (bytes, buffers) = (bench.setup.total_bytes(), u64::from(bench.setup.buffers));
        let case = Case::new(Kind::LiveBuffers, "system AUTO", Direction::Load, bytes, buffers)
            .with("live_buffers", u64::from(live));
        bench.measure(case, |setup| {
            // Allocated before the other buffers, so that its address does not depend on them: the
            // cost of mapping a page depends on its address.
            let measured = PiecewiseLoad::new(setup, &engine, &setup.source)?;
            let file = &measured.file;
            let idle = (1..live)
                .map(|_| {
                    let new = Target::New(new_buffer(SYSTEM_HEAP, IDLE_BUFFER_BYTES));
                    let loaded = load_part(&engine, Policy::AUTO, new, file, 0, IDLE_BUFFER_BYTES)?;
                    loaded.buffer.context("no buffer")
                })
                .collect::<Result<Vec<Buffer>>>()?;
            let phases = measured.measure(1)?;
            drop(idle);
            Ok(phases)
        })?;
    }
    Ok(())
}

/// Measures files of several sizes. Each is loaded whole through one buffer, because memory is
/// smaller than the largest, and as often as gives the bytes of the other measurements.
pub fn run_file_sizes(bench: &mut Bench) -> Result<()> {
    if !bench.is_first_repetition() {
        return Ok(());
    }
    let engine = Arc::clone(&bench.setup.engine);
    let largest_bytes = bench.setup.largest_file_bytes;
    for size_bytes in FILE_BYTES.into_iter().filter(|size| *size <= largest_bytes) {
        let rounds = (bench.setup.total_bytes() / size_bytes).max(1);
        let (bytes, buffers) =
            (rounds * size_bytes, rounds * size_bytes / bench.setup.buffer_bytes);
        let case = Case::new(Kind::FileSize, "system AUTO", Direction::Load, bytes, buffers)
            .with("file_bytes", size_bytes);
        if !bench.wants(&case.method) {
            continue;
        }
        let own = (size_bytes != bench.setup.source.size_bytes)
            .then(|| Source::create(&bench.setup.files, SIZED, size_bytes))
            .transpose()?;
        for _ in 0..SAMPLES {
            bench.measure(case.clone(), |setup| {
                let source = own.as_ref().unwrap_or(&setup.source);
                PiecewiseLoad::new(setup, &engine, source)?.measure(rounds)
            })?;
        }
        if own.is_some() {
            std::fs::remove_file(bench.setup.files.path(SIZED)).context("removing the file")?;
        }
    }
    Ok(())
}

/// Loads of a whole file, part by part into the same buffer.
struct PiecewiseLoad<'a> {
    setup: &'a Setup,
    engine: &'a Engine,
    source: &'a Source,
    file: File,
    part_bytes: u64,
    buffer: Buffer,
}

impl<'a> PiecewiseLoad<'a> {
    fn new(setup: &'a Setup, engine: &'a Engine, source: &'a Source) -> Result<Self> {
        let file = source.open(Mode::Direct)?;
        let part_bytes = setup.buffer_bytes.min(source.size_bytes);
        let buffer = engine.allocate(&new_buffer(SYSTEM_HEAP, part_bytes), &context())?;
        Ok(Self { setup, engine, source, file, part_bytes, buffer })
    }

    /// Loads the file `rounds` times.
    fn measure(&self, rounds: u64) -> Result<Phases> {
        let Self { engine, file, part_bytes, .. } = self;
        let fd = self.buffer.fd.as_fd();
        let parts = self.source.size_bytes / part_bytes;
        let ((), io) = self.setup.meter.measure(|| {
            for part in (0..rounds).flat_map(|_| 0..parts) {
                let target = Target::Existing(fd.try_clone_to_owned()?);
                load_part(engine, Policy::AUTO, target, file, part * part_bytes, *part_bytes)?;
            }
            Ok(())
        })?;
        self.source.verify(fd, *part_bytes, (parts - 1) * part_bytes)?;
        Ok(Phases { create: None, io: Some(io), close: None })
    }
}
