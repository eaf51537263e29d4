// SPDX-License-Identifier: Apache-2.0
//! Tests that a client which is killed, wherever it is in its requests, leaves nothing behind and
//! stops the service for nobody.
//!
//! The clients are processes of this program, which do nothing but requests until they are killed.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use dmabuf_loader_client::aidl::{ClientUsage::ClientUsage, RequestPriority::RequestPriority};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use vts_support::files::{Files, Mode};
use vts_support::wait::wait_until;

use crate::buffer::fd;
use crate::client::{Client, NamedTest};
use crate::service_state::{settled, ServiceState};
use crate::tasks::ignoring_callback;

pub const TESTS: &[NamedTest] = &[
    ("killed_clients_leave_nothing_behind", killed_clients_leave_nothing_behind),
    ("a_killed_clients_load_stops_soon", a_killed_clients_load_stops_soon),
];

/// What a client process does: set in its environment, to one of [`Role`].
const ROLE: &str = "DMABUF_TEST_CLIENT";
/// The instance that it calls.
const INSTANCE: &str = "DMABUF_TEST_INSTANCE";
/// The file that it loads.
const FILE: &str = "DMABUF_TEST_FILE";
/// How many clients are killed: 1000 take several minutes.
const KILLS: &str = "DMABUF_TEST_KILLS";

const MIXED: &str = "mixed";
const LARGE: &str = "large";

const DEFAULT_KILLS: u64 = 30;
const MIXED_BYTES: u64 = 24 << 20;
const LARGE_BYTES: u64 = 512 << 20;
/// A batch, what the kernel needs to end a process, and the machine's noise.
const SOON: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the requests of a client process; `None` where this process is not one.
pub fn run_as_client() -> Option<Result<()>> {
    let role = std::env::var(ROLE).ok()?;
    Some(requests(&role))
}

fn requests(role: &str) -> Result<()> {
    let of_environment = |name| std::env::var(name).with_context(|| name);
    let client = Client::connect(&of_environment(INSTANCE)?)?;
    let path = of_environment(FILE)?;
    let source = open_for_load(path.as_ref())?;
    // Its parent begins to count.
    println!("ready");
    let load = || Ok::<_, anyhow::Error>(LoadSpec::whole_file(&source)?);
    loop {
        if role == LARGE {
            client.load(load()?)?;
            continue;
        }
        let held = client.load(load()?)?.buffer.context("no buffer")?;
        let callback = ignoring_callback();
        let started = client.loader.start_load(load()?, Some(&callback))?;
        let urgent = load()?.priority(RequestPriority::LATENCY_CRITICAL).report_sha256();
        let second = client.loader.start_load(urgent, Some(&callback))?;
        let output = Mode::Direct.open_output(format!("{path}.{}", std::process::id()).as_ref())?;
        client.loader.save(SaveSpec::from_buffer(fd(&held)?)?.file(&output)?)?;
        started.finish()?;
        drop(second);
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a client process and waits until it has begun.
fn client_process(client: &Client, role: &str, file: &std::path::Path) -> Result<Killed> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(ROLE, role)
        .env(INSTANCE, &client.instance)
        .env(FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .context("a client process")?;
    let mut ready = [0; 6];
    let output = child.stdout.as_mut().context("no output")?.read_exact(&mut ready);
    let child = Killed(child);
    output.context("the client process has ended")?;
    ensure!(&ready == b"ready\n", "{ready:?}");
    Ok(child)
}

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
    let mut random = fastrand::Rng::with_seed(61);
    for number in 0..kills {
        let process = client_process(client, MIXED, file.path())?;
        std::thread::sleep(Duration::from_micros(random.u64(0..150_000)));
        let saved = format!("{}.{}", file.path().display(), process.0.id());
        drop(process);
        let _ = std::fs::remove_file(saved);
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
    let process = client_process(client, LARGE, file.path())?;
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
fn holds_nothing(client: &Client, patience: Duration) -> Result<()> {
    let holds_nothing = |usage: &ClientUsage| usage.resources.iter().all(|r| r.held == 0);
    wait_until(patience, "the clients hold nothing", || Ok(client.loader.usage()?), holds_nothing)
}
