// SPDX-License-Identifier: Apache-2.0
//! Measures loads whose buffers come from the engine's pool, and the pool's work off the request
//! path.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dmabuf_engine::request::Policy;
use dmabuf_engine::{Engine, PoolConfig, PoolStats};
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::wait;

use crate::bench::{Bench, Case, Setup};
use crate::engine_paths::{engine_with, load, load_new, Workload, SYSTEM_HEAP, UDMABUF};
use crate::tuning::Pages;

/// Long enough for the pool's thread to reclaim released buffers and to zero them.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the measurements.
pub fn run(bench: &mut Bench) -> Result<()> {
    for (heap, pages) in [
        (SYSTEM_HEAP, Pages::Small),
        (UDMABUF, Pages::Small),
        (UDMABUF, Pages::Transparent),
        (UDMABUF, Pages::Hugetlb),
    ] {
        let name = |what: &str| format!("{heap} AUTO, {what}{}", pages.suffix());
        let (loading, zeroing) = (name("warm pool"), name("pool clears"));
        if !bench.wants(&loading) && !bench.wants(&zeroing) {
            continue;
        }
        let workload = Workload::of(&bench.setup, heap, Policy::AUTO);
        let (buffers, bytes) = (u64::from(workload.buffers), bench.setup.total_bytes());
        let _pages = match pages.set_up(bytes + workload.buffer_bytes) {
            Ok(setting) => setting,
            Err(error) => {
                let case = Case::new(Kind::Engine, loading, Direction::Load, bytes, buffers);
                bench.measure(case, |_| Err(error))?;
                continue;
            }
        };
        let engine = engine_with(PoolConfig::of_bytes(2 * bytes), pages);
        let case = Case::new(Kind::Engine, loading, Direction::Load, bytes, buffers);
        bench.measure(case, |setup| load_from_pool(setup, &engine, &workload))?;
        let case = Case::new(Kind::Allocation, zeroing, Direction::None, bytes, buffers);
        bench.measure(case, |setup| watch_zeroing(setup, &engine, &workload))?;
    }
    Ok(())
}

/// Warms the pool and loads from it.
fn load_from_pool(setup: &Setup, engine: &Engine, workload: &Workload) -> Result<Phases> {
    warm(setup, engine, workload)?;
    let before = stats(engine)?;
    let phases = load(setup, engine, workload)?;
    let hits = stats(engine)?.hits - before.hits;
    ensure!(hits == u64::from(workload.buffers), "only {hits} loads found a buffer in the pool");
    Ok(phases)
}

/// Gives the pool one buffer more than a measurement needs: with none left, the pool makes another
/// immediately, and the measurement would include that.
fn warm(setup: &Setup, engine: &Engine, workload: &Workload) -> Result<()> {
    let wanted = u64::from(workload.buffers) + 1;
    let file = setup.source.open(vts_support::files::Mode::Direct)?;
    let held =
        (0..wanted).map(|_| load_new(engine, workload, &file, 0)).collect::<Result<Vec<_>>>()?;
    drop(held);
    wait_until(engine, "the buffers are back", |stats| stats.free >= wanted && stats.in_use == 0)
}

/// Waits until the pool has zeroed the bytes that the loads of a measurement left in it.
fn watch_zeroing(setup: &Setup, engine: &Engine, workload: &Workload) -> Result<Phases> {
    warm(setup, engine, workload)?;
    let bytes = u64::from(workload.buffers) * workload.buffer_bytes;
    let before = stats(engine)?.zeroed_bytes;
    let ((), zeroing) = setup.meter.measure(|| {
        wait_until(engine, "the buffers are zeroed", |stats| stats.zeroed_bytes >= before + bytes)
    })?;
    Ok(Phases { create: Some(zeroing), io: None, close: None })
}

fn stats(engine: &Engine) -> Result<PoolStats> {
    engine.pool_stats().context("the engine has no pool")
}

fn wait_until(engine: &Engine, what: &str, holds: impl Fn(&PoolStats) -> bool) -> Result<()> {
    wait::wait_until(PATIENCE, what, || stats(engine), holds)
}
