// SPDX-License-Identifier: Apache-2.0
//! Tests that a latency-critical load is not held up by bulk loads, and does not starve them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use dmabuf_loader_client::aidl::RequestPriority::RequestPriority;
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::{Files, TestFile};

use crate::client::{Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("a_critical_load_is_soon_done_beside_bulk_loads", critical_beside_bulk),
    ("critical_loads_do_not_starve_bulk_loads", critical_loads_do_not_starve_bulk_loads),
];

const CRITICAL_BYTES: u64 = 1 << 20;
const BULK_BYTES: u64 = 64 << 20;
/// More than the service moves at a time.
const BULK_CLIENTS: usize = 8;
const IDLE_LOADS: usize = 20;
const LOADS: usize = 100;
/// Of the idle latency.
const MAX_MEDIAN_RATIO: f64 = 3.0;
const MAX_P99_RATIO: f64 = 10.0;

fn load(client: &Client, file: &TestFile, priority: RequestPriority) -> Result<Duration> {
    let spec = LoadSpec::whole_file(open_for_load(file.path())?)?.priority(priority);
    let begin = Instant::now();
    client.loader.load(spec)?;
    Ok(begin.elapsed())
}

/// Latencies of critical loads one after the other, shortest first.
fn critical_loads(client: &Client, file: &TestFile, count: usize) -> Result<Vec<Duration>> {
    let one = |_| load(client, file, RequestPriority::LATENCY_CRITICAL);
    let mut latencies = (0..count).map(one).collect::<Result<Vec<_>>>()?;
    latencies.sort_unstable();
    Ok(latencies)
}

/// Runs `work` while bulk loads go on; returns also how many of them have ended.
fn beside_bulk<T>(
    client: &Client,
    file: &TestFile,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, u64)> {
    let (stop, ended) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let bulk = || -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                load(client, file, RequestPriority::BULK).context("a bulk load")?;
                ended.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let clients: Vec<_> = (0..BULK_CLIENTS).map(|_| scope.spawn(bulk)).collect();
        // All of them are under way.
        while ended.load(Ordering::Relaxed) < BULK_CLIENTS as u64
            && clients.iter().all(|client| !client.is_finished())
        {
            thread::sleep(Duration::from_millis(10));
        }
        let before = ended.load(Ordering::Relaxed);
        let done = work();
        let during = ended.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a load does not panic")?;
        }
        Ok((done?, during))
    })
}

/// The noise of a busy machine only ever lengthens a latency, so that one measurement of a few is
/// to be within the bounds.
fn critical_beside_bulk(client: &Client) -> Result<()> {
    const MEASUREMENTS: usize = 3;
    let files = Files::new()?;
    let small = files.patterned("critical", 71, CRITICAL_BYTES)?;
    let large = files.patterned("bulk", 72, BULK_BYTES)?;
    let mut seen = Vec::new();
    for _ in 0..MEASUREMENTS {
        let idle = critical_loads(client, &small, IDLE_LOADS)?[IDLE_LOADS / 2];
        let (latencies, bulk_loads) =
            beside_bulk(client, &large, || critical_loads(client, &small, LOADS))?;
        let ratio = |latency: Duration| latency.as_secs_f64() / idle.as_secs_f64();
        let (median, p99) = (ratio(latencies[LOADS / 2]), ratio(latencies[LOADS * 99 / 100 - 1]));
        seen.push(format!(
            "idle {idle:?}; beside bulk loads: median {median:.1} times, 99th percentile \
             {p99:.1} times; {bulk_loads} bulk loads ended meanwhile"
        ));
        println!("INFO: {}", seen[seen.len() - 1]);
        if median <= MAX_MEDIAN_RATIO && p99 <= MAX_P99_RATIO {
            return Ok(());
        }
    }
    bail!("more than {MAX_MEDIAN_RATIO} and {MAX_P99_RATIO} times: {}", seen.join("; "))
}

fn critical_loads_do_not_starve_bulk_loads(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let large = files.patterned("bulk", 73, BULK_BYTES)?;
    let during = Duration::from_secs(3);
    let critical = || {
        let begin = Instant::now();
        while begin.elapsed() < during {
            load(client, &large, RequestPriority::LATENCY_CRITICAL)?;
        }
        Ok(())
    };
    let ((), bulk_loads) = beside_bulk(client, &large, critical)?;
    println!("{bulk_loads} bulk loads ended in {during:?} beside critical ones");
    ensure!(bulk_loads > 0, "no bulk load ended in {during:?} beside critical ones");
    Ok(())
}
