// SPDX-License-Identifier: Apache-2.0
//! Loads that find their buffers in the engine's pool, and what the pool does off the request path.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dmabuf_engine::request::Policy;
use dmabuf_engine::{Engine, PoolConfig, PoolStats};
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::wait;

use crate::bench::{Bench, Case, Setup};
use crate::engine_paths::{engine_with, load, load_new, Workload, SYSTEM_HEAP, UDMABUF};
use crate::tuning::Pages;

/// Long enough for the pool's thread to reclaim what clients have released, and to zero it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures them.
pub fn run(bench: &mut Bench) -> Result<()> {
    for (heap, pages) in [
        (SYSTEM_HEAP, Pages::Small),
        (UDMABUF, Pages::Small),
        (UDMABUF, Pages::Transparent),
        (UDMABUF, Pages::Hugetlb),
    ] {
        let name = |what: &str| format!("{heap} AUTO, {what}{}", pages.suffix());
        let (loading, clearing) = (name("warm pool"), name("pool clears"));
        if !bench.wants(&loading) && !bench.wants(&clearing) {
            continue;
        }
        let workload = Workload::of(&bench.setup, heap, Policy::Auto);
        let (buffers, bytes) = (u64::from(workload.buffers), bench.setup.total_bytes());
        let _pages = match pages.set_up(bytes + workload.buffer_bytes) {
            Ok(setting) => setting,
            Err(error) => {
                let case = Case::new(Kind::Engine, loading, Direction::Load, bytes, buffers);
                bench.measure(case, |_| Err(error))?;
                continue;
            }
        };
        let engine = engine_with(PoolConfig::of_bytes(2 * bytes));
        let case = Case::new(Kind::Engine, loading, Direction::Load, bytes, buffers);
        bench.measure(case, |setup| load_from_pool(setup, &engine, &workload))?;
        let case = Case::new(Kind::Allocation, clearing, Direction::None, bytes, buffers);
        bench.measure(case, |setup| watch_clearing(setup, &engine, &workload))?;
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

/// Lets the pool have one buffer more than a measurement needs: without one left it makes another at once, which would
/// be measured too.
fn warm(setup: &Setup, engine: &Engine, workload: &Workload) -> Result<()> {
    let wanted = u64::from(workload.buffers) + 1;
    let file = setup.source.open(vts_support::files::Mode::Direct)?;
    let held =
        (0..wanted).map(|_| load_new(engine, workload, &file, 0)).collect::<Result<Vec<_>>>()?;
    drop(held);
    wait_until(engine, "the buffers are back", |stats| stats.free >= wanted && stats.in_use == 0)
}

/// Waits until the pool has zeroed as many bytes as the loads of a measurement have left in it.
fn watch_clearing(setup: &Setup, engine: &Engine, workload: &Workload) -> Result<Phases> {
    warm(setup, engine, workload)?;
    let bytes = u64::from(workload.buffers) * workload.buffer_bytes;
    let before = stats(engine)?.zeroed_bytes;
    let ((), clearing) = setup.meter.measure(|| {
        wait_until(engine, "the buffers are zeroed", |stats| stats.zeroed_bytes >= before + bytes)
    })?;
    Ok(Phases { create: Some(clearing), io: None, close: None })
}

fn stats(engine: &Engine) -> Result<PoolStats> {
    engine.pool_stats().context("the engine has no pool")
}

fn wait_until(engine: &Engine, what: &str, holds: impl Fn(&PoolStats) -> bool) -> Result<()> {
    wait::wait_until(PATIENCE, what, || stats(engine), holds)
}
