// SPDX-License-Identifier: Apache-2.0
//! A request that runs while its client goes on: [`Runner`] is the side of the worker, [`Task`]
//! that of the client.
//!
//! | State | Left when |
//! |---|---|
//! | queued | a worker begins it; or it is cancelled, which ends it at once |
//! | running | the worker finishes it, or loses it; to cancel it only asks the worker to end it |
//! | ended | the client takes the result, once |
//! | taken | never |

use std::time::{Duration, Instant};

use dmabuf_engine::CancelToken;
use thiserror::Error;

use crate::sync::{lock, Arc, Condvar, Mutex};

/// How a task ended: with a result, or without.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoResult {
    /// It has not ended.
    #[error("the task has not ended")]
    NotEnded,
    /// It was cancelled before a worker began it.
    #[error("the task was cancelled before it began")]
    CancelledInQueue,
    /// Its deadline passed before a worker began it.
    #[error("the deadline of the task passed before it began")]
    LateInQueue,
    /// The worker ended without a result.
    #[error("the worker of the task was lost")]
    Lost,
    /// The result was taken before.
    #[error("the result was taken before")]
    Taken,
}

#[derive(Debug)]
enum State<R> {
    Queued,
    Running,
    Ended(Result<R, NoResult>),
    Taken,
}

#[derive(Debug)]
struct Shared<R> {
    state: Mutex<State<R>>,
    ended: Condvar,
    cancel: CancelToken,
}

impl<R> Shared<R> {
    /// Ends a task that has not ended, and wakes all who wait.
    fn end(&self, result: Result<R, NoResult>) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Queued | State::Running) {
            *state = State::Ended(result);
            self.ended.notify_all();
        }
    }
}

/// Makes the two sides of a task that is queued. The token is that of the request's context.
pub fn task<R>(cancel: CancelToken) -> (Task<R>, Runner<R>) {
    let state = Mutex::new(State::Queued);
    let shared = Arc::new(Shared { state, ended: Condvar::new(), cancel });
    (Task(Arc::clone(&shared)), Runner(shared))
}

/// The client's side. A task that is dropped is cancelled.
#[derive(Debug)]
pub struct Task<R>(Arc<Shared<R>>);

impl<R> Task<R> {
    /// Asks the task to end; one that no worker has begun ends at once, and then the answer is
    /// `true`. No effect on one that has ended.
    pub fn cancel(&self) -> bool {
        self.0.cancel.cancel();
        self.end_in_queue(NoResult::CancelledInQueue)
    }

    /// Ends the task if no worker has begun it; says whether it did.
    pub fn end_in_queue(&self, reason: NoResult) -> bool {
        let mut state = lock(&self.0.state);
        let is_queued = matches!(*state, State::Queued);
        if is_queued {
            *state = State::Ended(Err(reason));
            self.0.ended.notify_all();
        }
        is_queued
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(*lock(&self.0.state), State::Ended(_) | State::Taken)
    }

    /// Waits until the task has ended.
    pub fn wait(&self) {
        let mut state = lock(&self.0.state);
        while matches!(*state, State::Queued | State::Running) {
            state = self.0.ended.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Waits until the task has ended, but no longer than `timeout`; says whether it has.
    pub fn wait_for(&self, timeout: Duration) -> bool {
        let until = Instant::now().checked_add(timeout);
        let Some(until) = until else {
            self.wait();
            return true;
        };
        let mut state = lock(&self.0.state);
        while matches!(*state, State::Queued | State::Running) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        true
    }

    /// Takes the result, which is there once.
    ///
    /// # Errors
    /// Why there is none.
    pub fn take(&self) -> Result<R, NoResult> {
        let mut state = lock(&self.0.state);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Ended(result) => result,
            State::Taken => Err(NoResult::Taken),
            not_ended => {
                *state = not_ended;
                Err(NoResult::NotEnded)
            }
        }
    }
}

impl<R> Drop for Task<R> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The worker's side. The task of a runner that is dropped without a result counts as lost.
#[derive(Debug)]
pub struct Runner<R>(Arc<Shared<R>>);

impl<R> Runner<R> {
    /// Begins the task; `false` where it was cancelled before, and must not run.
    #[must_use]
    pub fn begin(&self) -> bool {
        let mut state = lock(&self.0.state);
        let begins = matches!(*state, State::Queued);
        if begins {
            *state = State::Running;
        }
        begins
    }

    /// Ends the task with its result.
    pub fn finish(self, result: R) {
        self.0.end(Ok(result));
    }
}

impl<R> Drop for Runner<R> {
    fn drop(&mut self) {
        self.0.end(Err(NoResult::Lost));
    }
}
