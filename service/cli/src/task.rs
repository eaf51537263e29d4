// SPDX-License-Identifier: Apache-2.0
//! Runs a started request to its end: shows its progress, and cancels it on a signal.

use std::time::Duration;

use dmabuf_loader_client::{Outcome, Task};

use crate::interrupt::Interrupt;
use crate::output::bytes_text;
use crate::progress::Progress;

/// How often the progress is asked for, on a terminal and elsewhere.
const POLL: Duration = Duration::from_millis(100);

/// Starts a request and waits for its result.
pub fn run<R: Outcome>(
    interrupt: &Interrupt,
    progress: &mut Progress,
    start: impl FnOnce() -> dmabuf_loader_client::Result<Task<R>>,
) -> anyhow::Result<R> {
    // Before the task is known, a signal ends the process, and with it the task.
    let task = start()?;
    let running = interrupt.task_begins();
    loop {
        let reached = task.progress()?;
        progress.show(&reached);
        if task.wait_for(POLL)? {
            break;
        }
        if running.is_interrupted() {
            task.cancel()?;
            break;
        }
    }
    let reached = task.progress()?;
    let outcome = task.finish();
    running.end(|| match &outcome {
        Ok(_) => "the request had ended; its result is dropped".to_owned(),
        Err(error) => {
            let moved = bytes_text(u64::try_from(reached.movedBytes).unwrap_or(0));
            let total = bytes_text(u64::try_from(reached.totalBytes).unwrap_or(0));
            format!("{error}, after {moved} of {total}")
        }
    })?;
    Ok(outcome?)
}
