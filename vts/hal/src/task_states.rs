// SPDX-License-Identifier: Apache-2.0
//! Tests of a started request in each of its states: in the queue, running, ended, taken, dropped.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{LoadResult::LoadResult, LoaderError::LoaderError};
use dmabuf_loader_client::{open_for_load, ClientError, LoadSpec, Task};
use vts_support::files::{Files, TestFile};
use vts_support::wait::wait_until;

use crate::client::{expect_refusal, Client, NamedTest};
use crate::client_death::holds_nothing;

pub const TESTS: &[NamedTest] = &[
    ("a_task_can_be_cancelled_in_every_state", cancelled_in_every_state),
    ("waiting_ends_at_its_timeout", waiting_ends_at_its_timeout),
    ("two_wait_and_one_takes_the_result", two_wait_and_one_takes_the_result),
    ("a_dropped_task_frees_what_it_holds", a_dropped_task_frees_what_it_holds),
];

/// Takes a while.
const LARGE_BYTES: u64 = 96 << 20;
/// More than there are workers for one client.
const TASKS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(60);
/// A batch of each load that runs, and the machine's noise.
const SOON: Duration = Duration::from_secs(5);

fn start(client: &Client, file: &TestFile) -> Result<Task<LoadResult>> {
    let spec = LoadSpec::whole_file(open_for_load(file.path())?)?;
    Ok(client.loader.start_load(spec, None)?)
}

fn expect_cancelled(task: Task<LoadResult>) -> Result<()> {
    expect_refusal(task.finish(), LoaderError::CANCELLED, "")
}

/// A task that runs may come to its end before it is cancelled.
fn expect_cancelled_or_ended(task: Task<LoadResult>) -> Result<()> {
    match task.finish() {
        Ok(loaded) => {
            ensure!(loaded.segmentBytes == [LARGE_BYTES as i64], "{:?}", loaded.segmentBytes);
            Ok(())
        }
        Err(error) if error.code() == Some(LoaderError::CANCELLED) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn cancelled_in_every_state(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 41, LARGE_BYTES)?;
    let mut tasks = (0..TASKS).map(|_| start(client, &file)).collect::<Result<Vec<_>>>()?;
    // The first runs and the last waits in the queue.
    let first = tasks.swap_remove(0);
    let progress = || Ok(first.progress()?);
    wait_until(PATIENCE, "the first task runs", progress, |progress| progress.totalBytes > 0)?;
    let last = tasks.pop().context("no task")?;
    ensure!(last.progress()?.totalBytes == 0, "the last task runs: {:?}", last.progress()?);
    let begin = Instant::now();
    last.cancel()?;
    ensure!(last.wait_for(Duration::ZERO)?, "a task in the queue ends when it is cancelled");
    expect_cancelled(last)?;
    first.cancel()?;
    first.cancel()?;
    expect_cancelled_or_ended(first)?;
    for task in tasks {
        task.cancel()?;
        expect_cancelled_or_ended(task)?;
    }
    ensure!(begin.elapsed() < SOON, "cancelling took {:?}", begin.elapsed());
    // After its end a task has its result, cancelled or not.
    let small = files.patterned("g", 42, 4096)?;
    let ended = start(client, &small)?;
    ensure!(ended.wait_for(PATIENCE)?, "the load has not ended");
    ended.cancel()?;
    ensure!(ended.finish()?.segmentBytes == [4096], "a result that was there is lost");
    holds_nothing(client, PATIENCE)
}

fn waiting_ends_at_its_timeout(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 43, LARGE_BYTES)?;
    let running = (0..TASKS).map(|_| start(client, &file)).collect::<Result<Vec<_>>>()?;
    let last = running.last().context("no task")?;
    let (begin, timeout) = (Instant::now(), Duration::from_millis(50));
    ensure!(!last.wait_for(timeout)?, "the last of {TASKS} loads has ended");
    ensure!(begin.elapsed() >= timeout, "waited {:?} of {timeout:?}", begin.elapsed());
    let early = last.service().takeResult().map(drop).map_err(ClientError::from);
    expect_refusal(early, LoaderError::NOT_ENDED, "")?;
    drop(running);
    holds_nothing(client, PATIENCE)
}

fn two_wait_and_one_takes_the_result(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 44, LARGE_BYTES)?;
    let task = start(client, &file)?;
    let wait = || task.wait_for(PATIENCE);
    let woken = thread::scope(|scope| {
        let waiters = [scope.spawn(wait), scope.spawn(wait)];
        waiters.map(|waiter| waiter.join().expect("waiting does not panic"))
    });
    for ended in woken {
        ensure!(ended?, "who waited was not woken");
    }
    let take = || task.service().takeResult().map(drop).map_err(ClientError::from);
    take().context("the result")?;
    expect_refusal(take(), LoaderError::RESULT_TAKEN, "")
}

fn a_dropped_task_frees_what_it_holds(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 45, LARGE_BYTES)?;
    let tasks = (0..TASKS).map(|_| start(client, &file)).collect::<Result<Vec<_>>>()?;
    drop(tasks);
    holds_nothing(client, SOON)
}
