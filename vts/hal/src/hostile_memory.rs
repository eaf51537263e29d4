// SPDX-License-Identifier: Apache-2.0
//! Tests that sparse files, which cost their owner nothing, do not cost the device its memory.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{DmaBuf::DmaBuf, LoaderError::LoaderError};
use dmabuf_loader_client::{open_for_load, ClientError, LoadSpec};
use vts_support::files::Files;
use vts_support::outcome::skip;

use crate::client::{new_buffer, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("more_than_the_available_memory_is_refused", more_than_the_available_memory_is_refused),
    ("sparse_loads_at_once_leave_a_reserve", sparse_loads_at_once_leave_a_reserve),
];

const MIB: u64 = 1 << 20;
/// The least that the service leaves free, less what tests and page tables take meanwhile.
const RESERVE_BYTES: u64 = 48 * MIB;
/// A refusal makes no page.
const AT_ONCE: Duration = Duration::from_secs(2);

fn available_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(kib.context("no MemAvailable in /proc/meminfo")?.parse::<u64>()? << 10)
}

/// Fails unless an answer is that the memory is short, with all the numbers.
fn expect_memory_short(refused: &ClientError, size_bytes: u64) -> Result<()> {
    let text = refused.to_string();
    ensure!(refused.code() == Some(LoaderError::NO_MEMORY), "{text}");
    let words =
        [&*format!("cannot allocate {size_bytes} bytes: "), " are available", " the device"];
    ensure!(words.iter().all(|word| text.contains(word)), "{text}");
    Ok(())
}

/// The largest heap, and buffers of it that leave less free than another one of this size takes.
fn fill(client: &Client, size_bytes: u64) -> Result<(String, Vec<DmaBuf>, ClientError)> {
    let heap = client.best_heap()?.name;
    let mut held = Vec::new();
    loop {
        let begin = Instant::now();
        match client.loader.allocate(&sized_buffer(&heap, size_bytes as i64)) {
            Ok(buffer) => held.push(buffer),
            Err(refused) => {
                ensure!(begin.elapsed() < AT_ONCE, "refused after {:?}", begin.elapsed());
                return Ok((heap, held, refused));
            }
        }
        let available = available_bytes()?;
        ensure!(available >= RESERVE_BYTES, "{available} bytes are left of the device");
    }
}

fn more_than_the_available_memory_is_refused(client: &Client) -> Result<()> {
    let size_bytes = 128 * MIB;
    let files = Files::new()?;
    let hole = files.hole("hole", size_bytes)?;
    let source = open_for_load(hole.path())?;
    let (heap, held, refused) = fill(client, size_bytes)?;
    println!("INFO: {} buffers, then {refused}", held.len());
    expect_memory_short(&refused, size_bytes)?;
    let load = || client.loader.load(LoadSpec::whole_file(&source)?.into_new(new_buffer(&heap)));
    let begin = Instant::now();
    let refused = load().err().context("a load had the memory that allocate had not")?;
    ensure!(begin.elapsed() < AT_ONCE, "refused after {:?}", begin.elapsed());
    expect_memory_short(&refused, size_bytes)?;
    // Small requests still have their memory.
    client.loader.allocate(&sized_buffer(&heap, 4096)).context("a small buffer")?;
    drop(held);
    // The driver frees the last references a moment later.
    for _ in 0..50 {
        if let Ok(loaded) = load() {
            ensure!(loaded.segmentBytes == [size_bytes as i64], "{loaded:?}");
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    load().map(drop).context("with the memory free again")
}

fn sparse_loads_at_once_leave_a_reserve(client: &Client) -> Result<()> {
    const LOADS: usize = 32;
    let size_bytes = 256 * MIB;
    if available_bytes()? > LOADS as u64 * size_bytes {
        return Err(skip("the device has memory for all of them"));
    }
    let files = Files::new()?;
    let hole = files.hole("hole", size_bytes)?;
    let source = open_for_load(hole.path())?;
    let heap = client.best_heap()?.name;
    let load = || client.loader.load(LoadSpec::whole_file(&source)?.into_new(new_buffer(&heap)));
    let results: Vec<_> = thread::scope(|scope| {
        let loads: Vec<_> = (0..LOADS).map(|_| scope.spawn(load)).collect();
        loads.into_iter().map(|load| load.join().expect("a load does not panic")).collect()
    });
    let available = available_bytes()?;
    let loaded = results.iter().filter(|result| result.is_ok()).count();
    println!("INFO: {loaded} of {LOADS} loads, {available} bytes are left");
    ensure!(available >= RESERVE_BYTES, "{available} bytes are left of the device");
    ensure!((1..LOADS).contains(&loaded), "{loaded} of {LOADS} loads");
    for refused in results.iter().filter_map(|result| result.as_ref().err()) {
        // The quota of one client's bytes in flight may come before the memory's end.
        if refused.code() == Some(LoaderError::QUOTA_EXCEEDED) {
            let text = refused.to_string();
            ensure!(
                text.contains(&format!("{size_bytes} more bytes in flight asked for")),
                "{text}"
            );
        } else {
            expect_memory_short(refused, size_bytes)?;
        }
    }
    client.heaps().map(drop)
}
