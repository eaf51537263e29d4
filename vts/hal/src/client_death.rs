// SPDX-License-Identifier: Apache-2.0
//! Tests that a client which is killed, wherever it is in its requests, leaves nothing behind and
//! stops the service for nobody.

use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use dmabuf_loader_client::aidl::ClientUsage::ClientUsage;
use dmabuf_loader_client::open_for_load;
use vts_support::files::Files;
use vts_support::wait::wait_until;

use crate::client::{Client, NamedTest};
use crate::client_process::{ClientProcess, Role};
use crate::service_state::{settled, ServiceState};

pub const TESTS: &[NamedTest] = &[
    ("killed_clients_leave_nothing_behind", killed_clients_leave_nothing_behind),
    ("a_killed_clients_load_stops_soon", a_killed_clients_load_stops_soon),
];

/// How many clients are killed: 1000 take several minutes.
const KILLS: &str = "DMABUF_TEST_KILLS";

const DEFAULT_KILLS: u64 = 30;
const MIXED_BYTES: u64 = 24 << 20;
const LARGE_BYTES: u64 = 512 << 20;
/// A batch, what the kernel needs to end a process, and the machine's noise.
const SOON: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

fn kills() -> Result<u64> {
    match std::env::var(KILLS) {
        Ok(number) => number.parse().with_context(|| format!("{KILLS}={number}")),
        Err(_) => Ok(DEFAULT_KILLS),
    }
}

fn killed_clients_leave_nothing_behind(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 61, MIXED_BYTES)?;
    let before = settled(client)?;
    let kills = kills()?;
    let saved = files.path("saved");
    let mut random = fastrand::Rng::with_seed(61);
    for number in 0..kills {
        let source = open_for_load(file.path())?;
        let process = ClientProcess::start(client, Role::Mixed(&saved), source, None)?;
        std::thread::sleep(Duration::from_micros(random.u64(0..150_000)));
        drop(process);
        if number % 100 == 99 {
            println!("INFO: {} clients killed", number + 1);
        }
    }
    holds_nothing(client, PATIENCE)?;
    let after = ServiceState::of(client)?;
    println!("INFO: {kills} clients killed; {before:?}, then {after:?}");
    before.expect_again(client)
}

fn a_killed_clients_load_stops_soon(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 62, LARGE_BYTES)?;
    let source = open_for_load(file.path())?;
    let process = ClientProcess::start(client, Role::Whole, source, None)?;
    let is_under_way = |usage: &ClientUsage| usage.resources.iter().any(|r| r.held > 1 << 20);
    let usage = || Ok(client.loader.usage()?);
    wait_until(PATIENCE, "the load is under way", usage, is_under_way)?;
    let completed = client.loader.usage()?.completedRequests;
    let killed = Instant::now();
    drop(process);
    holds_nothing(client, SOON)?;
    println!("INFO: the load has stopped {:?} after its client", killed.elapsed());
    let after = client.loader.usage()?.completedRequests;
    if after != completed {
        bail!("{} loads of the killed client went on to their end", after - completed);
    }
    Ok(())
}

/// Waits until the uid of this process, and of the clients, holds nothing.
pub fn holds_nothing(client: &Client, patience: Duration) -> Result<()> {
    let holds_nothing = |usage: &ClientUsage| usage.resources.iter().all(|r| r.held == 0);
    wait_until(patience, "the clients hold nothing", || Ok(client.loader.usage()?), holds_nothing)
}
