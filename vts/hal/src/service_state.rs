// SPDX-License-Identifier: Apache-2.0
//! What the process of the service uses, by its dump, and the test that hostile requests leave it
//! as it was.

use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::LoaderError::LoaderError;
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::Files;
use vts_support::outcome::{is_skip, skip};
use vts_support::wait::wait_until;

use crate::client::{Client, NamedTest};
use crate::dump::dumped;
use crate::{
    allocation, arguments, hostile_buffers, hostile_fds, hostile_fences, hostile_files,
    hostile_memory, policy, wrong_fds,
};

pub const TESTS: &[NamedTest] = &[
    ("the_kernel_takes_the_client_first", the_kernel_takes_the_client_first),
    ("hostile_requests_leave_the_service_as_it_was", hostile_requests_leave_it_as_it_was),
];

/// What a hostile client may send.
const HOSTILE: [&[NamedTest]; 9] = [
    allocation::TESTS,
    arguments::TESTS,
    hostile_buffers::TESTS,
    hostile_fds::TESTS,
    hostile_fences::TESTS,
    hostile_files::TESTS,
    hostile_memory::TESTS,
    policy::TESTS,
    wrong_fds::TESTS,
];

/// More calls at a time than any test makes, and than one client may have.
const MOST_CALLS: usize = 48;
/// The pool keeps buffers for 10 s.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bounce memory that the service keeps, and what an allocator does not give back.
const MAX_GROWTH_KIB: u64 = 16 << 10;

/// What the process of the service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceState {
    pid: u64,
    pub fds: u64,
    threads: u64,
    anonymous_kib: u64,
}

impl ServiceState {
    /// Asks the service; skips the test where its dump does not tell.
    pub fn of(client: &Client) -> Result<Self> {
        let text = dumped(client)?;
        Ok(Self {
            pid: figure(&text, "process:")?,
            fds: figure(&text, "fds:")?,
            threads: figure(&text, "threads:")?,
            anonymous_kib: figure(&text, "anonymous memory:")?,
        })
    }

    /// Waits until the service uses no more than before.
    pub fn expect_again(self, client: &Client) -> Result<()> {
        let before = format!("the service uses no more than {self:?}");
        wait_until(PATIENCE, &before, || Self::of(client), |now| self.covers(now))
    }

    fn covers(&self, now: &Self) -> bool {
        now.pid == self.pid
            && now.fds <= self.fds
            && now.threads <= self.threads
            && now.anonymous_kib <= self.anonymous_kib + MAX_GROWTH_KIB
    }
}

/// A number of the dump; skips the test where there is none of that name.
fn figure<N: std::str::FromStr>(dump: &str, name: &str) -> Result<N> {
    let line = dump.lines().find_map(|line| line.trim_start().strip_prefix(name));
    let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    number.ok_or_else(|| skip(format!("the dump has no {name:?}: {dump}")))
}

/// The OOM killer takes the process with the most memory, by a score that this is added to. Buffers
/// count for nobody.
fn the_kernel_takes_the_client_first(client: &Client) -> Result<()> {
    let service: i32 = figure(&dumped(client)?, "oom_score_adj:")?;
    let own = std::fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse::<i32>()?;
    ensure!(service <= own, "the service has {service}, its client {own}");
    Ok(())
}

/// Keeps every thread of the service busy, so that it has started all that it ever will, and waits
/// until its pool is empty.
pub fn settled(client: &Client) -> Result<ServiceState> {
    let files = Files::new()?;
    let file = files.patterned("f", 81, 8 << 20)?;
    let source = open_for_load(file.path())?;
    for _ in 0..3 {
        thread::scope(|scope| {
            let load = || -> Result<()> {
                let ended = client.loader.load(LoadSpec::whole_file(&source)?.report_sha256());
                match ended {
                    Err(error) if error.code() == Some(LoaderError::QUOTA_EXCEEDED) => Ok(()),
                    ended => {
                        ended?;
                        Ok(())
                    }
                }
            };
            let loads: Vec<_> = (0..MOST_CALLS).map(|_| scope.spawn(load)).collect();
            loads.into_iter().try_for_each(|load| load.join().expect("a load does not panic"))
        })?;
        let start = |_| Ok(client.loader.start_load(LoadSpec::whole_file(&source)?, None)?);
        let tasks = (0..16).map(start).collect::<Result<Vec<_>>>()?;
        tasks.into_iter().try_for_each(|task| task.finish().map(drop))?;
    }
    // Until a second passes in which nothing is given back.
    let mut state = ServiceState::of(client)?;
    for _ in 0..PATIENCE.as_secs() {
        thread::sleep(Duration::from_secs(1));
        let now = ServiceState::of(client)?;
        if now.fds == state.fds && now.threads == state.threads {
            return Ok(now);
        }
        state = now;
    }
    Ok(state)
}

fn hostile_requests_leave_it_as_it_was(client: &Client) -> Result<()> {
    let before = settled(client)?;
    for (name, test) in HOSTILE.into_iter().flatten() {
        match test(client) {
            Err(error) if is_skip(&error) => println!("INFO: {name}: {error}"),
            ended => ended.with_context(|| (*name).to_owned())?,
        }
    }
    let after = ServiceState::of(client)?;
    println!("INFO: {before:?}, then {after:?}");
    ensure!(after.pid == before.pid, "the service was restarted");
    before.expect_again(client)
}
