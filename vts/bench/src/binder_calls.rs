// SPDX-License-Identifier: Apache-2.0
//! Measures single binder calls, many times over: a small load compared with an empty call.
//!
//! The empty call is binder's own ping, which every binder object answers without running the
//! service's code.

use anyhow::{anyhow, ensure, Context, Result};
#[cfg(soong)]
use binder::IBinder as _;
use dmabuf_loader_client::{LoadSpec, Loader};
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::files::Mode;

use crate::bench::{Bench, Case, Setup};
use crate::engine_paths::{SYSTEM_HEAP, UDMABUF};
use crate::outcome::not_possible;
use crate::service_paths::{fd, new_buffer};
use crate::source::Source;

/// Enough calls that deferred work of the kernel, such as freeing memory, costs little per call.
const CALLS: u64 = 1000;
/// Calls before the measurement: threads start and caches fill.
const WARM_UP_CALLS: u64 = 100;
const SMALL_FILE_BYTES: u64 = 4096;

/// Runs the measurements.
pub fn run(bench: &mut Bench) -> Result<()> {
    measure(bench, "empty call (ping)", Direction::None, 0, |setup, loader| {
        repeat(setup, || ping(loader))
    })?;
    measure(bench, "getHeaps", Direction::None, 0, |setup, loader| {
        repeat(setup, || loader.heaps().map(drop).context("getHeaps"))
    })?;
    measure(
        bench,
        "allocate 4 KiB and close",
        Direction::None,
        SMALL_FILE_BYTES,
        |setup, loader| {
            let request = new_buffer(SYSTEM_HEAP, SMALL_FILE_BYTES)?;
            repeat(setup, || loader.allocate(&request).map(drop).context("allocate"))
        },
    )?;
    let small = Source::create(&bench.setup.files, "small", SMALL_FILE_BYTES)?;
    for (name, mode) in [("direct", Mode::Direct), ("page cache warm", Mode::Buffered)] {
        for (heap, of_heap) in [(SYSTEM_HEAP, ""), (UDMABUF, " of udmabuf"), ("", " of any heap")] {
            let method = format!("load 4 KiB into a new buffer{of_heap}, {name}");
            measure(bench, &method, Direction::Load, SMALL_FILE_BYTES, |setup, loader| {
                let spec = LoadSpec::whole_file(small.open(mode)?)?.into_new(new_buffer(heap, 0)?);
                repeat(setup, || load_new(loader, &spec, &small))
            })?;
        }
        let method = format!("load 4 KiB into an existing buffer, {name}");
        measure(bench, &method, Direction::Load, SMALL_FILE_BYTES, |setup, loader| {
            let buffer = loader.allocate(&new_buffer(SYSTEM_HEAP, SMALL_FILE_BYTES)?)?;
            let spec = LoadSpec::whole_file(small.open(mode)?)?.into_existing(fd(&buffer)?)?;
            let phases = repeat(setup, || loader.load(&spec).map(drop).context("load"))?;
            small.verify(fd(&buffer)?, SMALL_FILE_BYTES, 0)?;
            Ok(phases)
        })?;
    }
    Ok(())
}

fn measure(
    bench: &mut Bench,
    method: &str,
    direction: Direction,
    bytes_per_call: u64,
    work: impl FnOnce(&Setup, &Loader) -> Result<Phases>,
) -> Result<()> {
    let case = Case::new(Kind::Call, method, direction, CALLS * bytes_per_call, CALLS);
    bench.measure(case, |setup| match &setup.loader {
        Ok(loader) => work(setup, loader),
        Err(reason) => Err(not_possible(reason.clone())),
    })
}

fn repeat(setup: &Setup, call: impl Fn() -> Result<()>) -> Result<Phases> {
    (0..WARM_UP_CALLS).try_for_each(|_| call())?;
    let ((), io) = setup.meter.measure(|| (0..CALLS).try_for_each(|_| call()))?;
    Ok(Phases { create: None, io: Some(io), close: None })
}

fn ping(loader: &Loader) -> Result<()> {
    // AOSP's ping_binder takes `&mut self`.
    #[allow(unused_mut)]
    let mut object = (**loader.service()).as_binder();
    object.ping_binder().map_err(|status| anyhow!("ping: {status:?}"))
}

/// Loads into a new buffer, and closes it.
fn load_new(loader: &Loader, spec: &LoadSpec, source: &Source) -> Result<()> {
    let result = loader.load(spec)?;
    ensure!(result.segmentBytes == [source.size_bytes as i64], "short: {:?}", result.segmentBytes);
    result.buffer.context("no buffer")?;
    Ok(())
}
