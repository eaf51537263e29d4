// SPDX-License-Identifier: Apache-2.0
//! Measures concurrent loads, as from several clients, to compare with the raw limit at its best
//! depth.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;

use anyhow::{anyhow, ensure, Context, Result};
use dmabuf_engine::request::{Policy, Target};
use dmabuf_engine::{Engine, PathName};
use dmabuf_loader_client::aidl::LoadPath::LoadPath;
use dmabuf_loader_client::Loader;
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::files::Mode;

use crate::bench::{Bench, Case, Setup};
use crate::engine_paths::{context, load_part, new_buffer, SYSTEM_HEAP};
use crate::outcome::not_possible;
use crate::seed::load::offsets_bytes;
use crate::service_paths;

/// Concurrent loads, a thread each.
const AT_ONCE: [u64; 3] = [1, 2, 4];

/// A part of a file.
struct Part<'a> {
    file: &'a File,
    offset_bytes: u64,
    len_bytes: u64,
}

/// A loader that copies by copy_file_range into existing buffers: the engine or the service.
trait Loads: Sync {
    fn make_buffer(&self, size_bytes: u64) -> Result<OwnedFd>;

    /// Loads a part of a file to the start of a buffer; returns the bytes loaded.
    fn fill(&self, buffer: BorrowedFd<'_>, part: &Part<'_>) -> Result<u64>;
}

/// Measures concurrent loads in-process.
pub fn run(bench: &mut Bench) -> Result<()> {
    let method = method();
    if !bench.wants(&method) {
        return Ok(());
    }
    let engine = Arc::clone(&bench.setup.engine);
    measure(bench, Kind::Engine, &method, |setup, at_once| load_all(setup, &*engine, at_once))
}

/// Measures concurrent loads through the service.
pub fn run_service(bench: &mut Bench) -> Result<()> {
    measure(bench, Kind::Binder, &method(), |setup, at_once| match &setup.loader {
        Ok(loader) => load_all(setup, loader, at_once),
        Err(reason) => Err(not_possible(reason.clone())),
    })
}

fn method() -> String {
    format!("{SYSTEM_HEAP} {}, loads at once", PathName::CopyFileRange)
}

fn measure(
    bench: &mut Bench,
    kind: Kind,
    method: &str,
    work: impl Fn(&Setup, u64) -> Result<Phases>,
) -> Result<()> {
    for at_once in AT_ONCE {
        let (bytes, buffers) = (bench.setup.total_bytes(), u64::from(bench.setup.buffers));
        let case = Case::new(kind, method, Direction::Load, bytes, buffers)
            .with("buffer_bytes", bench.setup.buffer_bytes)
            .with("loads_at_once", at_once);
        bench.measure(case, |setup| work(setup, at_once))?;
    }
    Ok(())
}

fn load_all(setup: &Setup, who: &impl Loads, at_once: u64) -> Result<Phases> {
    let file = setup.source.open(Mode::Direct)?;
    let len_bytes = setup.buffer_bytes;
    let (buffers, create) = setup.meter.measure(|| {
        (0..setup.buffers).map(|_| who.make_buffer(len_bytes)).collect::<Result<Vec<OwnedFd>>>()
    })?;
    let offsets: Vec<u64> = offsets_bytes(len_bytes).take(buffers.len()).collect();
    let next = AtomicUsize::new(0);
    let load_some = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(buffer) = buffers.get(index) else { return Ok(()) };
        let part = Part { file: &file, offset_bytes: offsets[index], len_bytes };
        let loaded_bytes = who.fill(buffer.as_fd(), &part)?;
        ensure!(loaded_bytes == len_bytes, "short: {loaded_bytes} of {len_bytes}");
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
        setup.source.verify(buffer.as_fd(), len_bytes, offset_bytes)?;
    }
    let ((), close) = setup.meter.measure(|| {
        drop(buffers);
        Ok(())
    })?;
    Ok(Phases { create: Some(create), io: Some(io), close: Some(close) })
}

impl Loads for Engine {
    fn make_buffer(&self, size_bytes: u64) -> Result<OwnedFd> {
        Ok(self.allocate(&new_buffer(SYSTEM_HEAP, size_bytes), &context())?.fd)
    }

    fn fill(&self, buffer: BorrowedFd<'_>, part: &Part<'_>) -> Result<u64> {
        let policy = Policy::only(PathName::CopyFileRange);
        let target = Target::Existing(buffer.try_clone_to_owned()?);
        let Part { file, offset_bytes, len_bytes } = *part;
        let outcome = load_part(self, policy, target, file, offset_bytes, len_bytes)?;
        Ok(outcome.segment_bytes.iter().sum())
    }
}

impl Loads for Loader {
    fn make_buffer(&self, size_bytes: u64) -> Result<OwnedFd> {
        let buffer = self.allocate(&service_paths::new_buffer(SYSTEM_HEAP, size_bytes)?)?;
        Ok(buffer.fd.context("no buffer")?.into())
    }

    fn fill(&self, buffer: BorrowedFd<'_>, part: &Part<'_>) -> Result<u64> {
        let Part { file, offset_bytes, len_bytes } = *part;
        let path = Some(LoadPath::COPY_FILE_RANGE);
        let spec = service_paths::part_of(file, offset_bytes, len_bytes, path)?;
        let result =
            self.load(spec.into_existing(buffer)?).map_err(service_paths::refused_or_failed)?;
        Ok(u64::try_from(result.segmentBytes.iter().sum::<i64>())?)
    }
}
