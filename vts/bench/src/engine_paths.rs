// SPDX-License-Identifier: Apache-2.0
//! Measures every path that the engine supports, for every heap, in-process, and the path that the
//! engine chooses.
//!
//! Each load allocates its buffer, because some paths need the memory behind the buffer, which only
//! allocation returns.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dmabuf_engine::request::{Length, LoadRequest, NewBuffer, Policy, Segment, Target};
use dmabuf_engine::{
    Buffer, ClientId, Context as RequestContext, Engine, EngineConfig, EngineError, HugeUdmabufs,
    LoadOutcome, PathName, PoolConfig,
};
use vts_bench_record::{Cost, Direction, Kind, Phases};
use vts_support::files::Mode;

use crate::bench::{Bench, Case, Setup};
use crate::outcome::not_possible;
use crate::seed::load::offsets_bytes;
use crate::tuning::Pages;

/// A larger size of a buffer, at which calls cost less per byte.
const LARGE_BUFFER_BYTES: u64 = 256 << 20;

/// The loads of one measurement.
#[derive(Clone, Debug)]
pub struct Workload {
    heap: String,
    policy: Policy,
    /// The number of buffers, loaded one after the other and kept until the last is loaded.
    pub buffers: u32,
    /// The size of each buffer.
    pub buffer_bytes: u64,
}

/// Runs the measurements.
pub fn run(bench: &mut Bench) -> Result<()> {
    for pages in Pages::ALL {
        let _pages = match pages.set_up(bench.setup.total_bytes()) {
            Ok(setting) => setting,
            Err(error) => {
                let case = Case::new(
                    Kind::Engine,
                    format!("any path{}", pages.suffix()),
                    Direction::Load,
                    0,
                    0,
                );
                bench.measure(case, |_| Err(error))?;
                continue;
            }
        };
        let engine = match pages {
            Pages::Small => Arc::clone(&bench.setup.engine),
            _ => Arc::new(engine_with(PoolConfig::OFF, pages)),
        };
        for entry in engine.paths() {
            let name = format!("{} {}", entry.heap, entry.path);
            if pages != Pages::Small && entry.heap != UDMABUF {
                continue;
            }
            let workload = Workload::of(&bench.setup, &entry.heap, Policy::only(entry.path));
            let refused = (!entry.support.supported).then(|| entry.support.detail.to_string());
            measure(bench, &engine, &name, pages, workload, refused)?;
        }
        let workload = Workload::of(&bench.setup, "", Policy::AUTO);
        measure(bench, &engine, "any heap AUTO", pages, workload, None)?;
        if pages == Pages::Small {
            let system_heap = Workload::of(&bench.setup, SYSTEM_HEAP, Policy::AUTO);
            measure(bench, &engine, "system AUTO", pages, system_heap.clone(), None)?;
            if let Some(workload) = system_heap.large(bench.setup.total_bytes()) {
                measure(bench, &engine, "system AUTO", pages, workload, None)?;
            }
        }
    }
    Ok(())
}

/// The name of the system heap.
pub const SYSTEM_HEAP: &str = "system";

/// The name of the heap of udmabufs.
pub const UDMABUF: &str = "udmabuf";

/// Makes an engine with a pool. To measure udmabufs in huge pages it is told that the kernel shows
/// importers the right bytes of them, as a kernel with the mends of udmabuf does.
pub fn engine_with(pool: PoolConfig, pages: Pages) -> Engine {
    let mut config = EngineConfig::new(false, pool);
    if pages != Pages::Small {
        config.heaps.huge_udmabufs = HugeUdmabufs::Yes;
    }
    Engine::new(config)
}

impl Workload {
    /// Returns the workload of all the buffers of a measurement, from a heap.
    pub fn of(setup: &Setup, heap: &str, policy: Policy) -> Self {
        let (buffers, buffer_bytes) = (setup.buffers, setup.buffer_bytes);
        Self { heap: heap.to_owned(), policy, buffers, buffer_bytes }
    }

    /// Returns the same bytes in larger buffers, if there are enough.
    fn large(self, total_bytes: u64) -> Option<Self> {
        let buffers = u32::try_from(total_bytes / LARGE_BUFFER_BYTES).ok().filter(|n| *n > 0)?;
        Some(Self { buffers, buffer_bytes: LARGE_BUFFER_BYTES, ..self })
    }
}

fn measure(
    bench: &mut Bench,
    engine: &Engine,
    name: &str,
    pages: Pages,
    workload: Workload,
    refused: Option<String>,
) -> Result<()> {
    let method = format!("{name}{}", pages.suffix());
    let bytes = u64::from(workload.buffers) * workload.buffer_bytes;
    let case = Case::new(Kind::Engine, method, Direction::Load, bytes, u64::from(workload.buffers))
        .with("buffer_bytes", workload.buffer_bytes);
    bench.measure(case, |setup| match refused {
        Some(reason) => Err(not_possible(reason)),
        None => load(setup, engine, &workload),
    })
}

/// Loads the buffers, checks their content and closes them.
pub fn load(setup: &Setup, engine: &Engine, workload: &Workload) -> Result<Phases> {
    let file = setup.source.open(file_mode(workload.policy))?;
    let (outcomes, both) = setup.meter.measure(|| {
        offsets_bytes(workload.buffer_bytes)
            .take(workload.buffers as usize)
            .map(|offset_bytes| load_new(engine, workload, &file, offset_bytes))
            .collect::<Result<Vec<LoadOutcome>>>()
    })?;
    let spent = |on: fn(&LoadOutcome) -> Duration| outcomes.iter().map(on).sum::<Duration>();
    let (create, rest) = apart(both, spent(|outcome| outcome.report.allocate));
    let (export, io) = apart(rest, spent(|outcome| outcome.report.export));
    let buffers = outcomes
        .into_iter()
        .map(|outcome| {
            check(&outcome, workload)?;
            outcome.buffer.context("no buffer")
        })
        .collect::<Result<Vec<Buffer>>>()?;
    for (buffer, offset_bytes) in buffers.iter().zip(offsets_bytes(workload.buffer_bytes)) {
        setup.source.verify(buffer.fd.as_fd(), workload.buffer_bytes, offset_bytes)?;
    }
    let ((), close) = setup.meter.measure(|| {
        drop(buffers);
        Ok(())
    })?;
    Ok(Phases { create: Some(create), io: Some(io), close: Some(close.plus(export)) })
}

/// Loads a part of a file into a new buffer.
pub fn load_new(
    engine: &Engine,
    workload: &Workload,
    file: &File,
    file_offset_bytes: u64,
) -> Result<LoadOutcome> {
    let target = Target::New(new_buffer(&workload.heap, workload.buffer_bytes));
    load_part(engine, workload.policy, target, file, file_offset_bytes, workload.buffer_bytes)
}

/// The mode in which to open the file: with `O_DIRECT`, the buffered path would not do buffered
/// I/O.
fn file_mode(policy: Policy) -> Mode {
    if policy == Policy::only(PathName::Buffered) {
        Mode::Buffered
    } else {
        Mode::Direct
    }
}

/// Splits a cost by the elapsed time of a part of the work. Allocating and unmapping memory do not
/// sleep, so their elapsed time is CPU time.
pub fn apart(both: Cost, part: Duration) -> (Cost, Cost) {
    let part_ns = u64::try_from(part.as_nanos()).unwrap_or(u64::MAX);
    let in_service = both.service_ns > both.process_ns;
    let of = |has_it: bool, ns: u64| if has_it { part_ns.min(ns) } else { 0 };
    let part = Cost {
        process_ns: of(!in_service, both.process_ns),
        caller_ns: of(!in_service, both.caller_ns),
        service_ns: of(in_service, both.service_ns),
        system_ns: both.system_ns.map(|ns| of(true, ns)),
        wall_ns: of(true, both.wall_ns),
    };
    (part, both.minus(part))
}

/// A request for a buffer.
pub fn new_buffer(heap: &str, size_bytes: u64) -> NewBuffer {
    NewBuffer { heap: heap.to_owned(), size_bytes, name: "bench".to_owned() }
}

/// The context of the benchmark's requests.
pub fn context() -> RequestContext {
    RequestContext::new(ClientId(0))
}

/// Loads a part of a file to the start of a buffer.
pub fn load_part(
    engine: &Engine,
    policy: Policy,
    target: Target,
    file: &File,
    file_offset_bytes: u64,
    len_bytes: u64,
) -> Result<LoadOutcome> {
    let segment = Segment {
        file_index: 0,
        file_offset_bytes,
        length: Length::Bytes(len_bytes),
        buffer_offset_bytes: 0,
    };
    let files = vec![file.as_fd().try_clone_to_owned()?];
    let load = LoadRequest::new(target, files, vec![segment]);
    engine.load(LoadRequest { policy, ..load }, &context()).map_err(|error| match error {
        EngineError::PathUnavailable { .. } | EngineError::NoMemory { .. } => {
            not_possible(error.to_string())
        }
        other => other.into(),
    })
}

fn check(outcome: &LoadOutcome, workload: &Workload) -> Result<()> {
    ensure!(outcome.segment_bytes == [workload.buffer_bytes], "short: {:?}", outcome.segment_bytes);
    let taken = outcome.report.path().context("no path was reported")?;
    let is_only = |name: &PathName| workload.policy == Policy::only(*name);
    if let Some(name) = PathName::ALL.into_iter().find(is_only) {
        let direct = matches!(name, PathName::CopyFileRange | PathName::UdmabufDirect);
        ensure!(taken.name() == name && taken.is_direct() == direct, "{taken} was taken");
    }
    Ok(())
}
