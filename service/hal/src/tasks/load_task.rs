// SPDX-License-Identifier: Apache-2.0
//! The object that the client of a started request gets.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use binder::{Interface, Strong};
use dmabuf_scheduler::fair_queue::{Flow, Ticket};
use dmabuf_scheduler::quota::Reservation;
use dmabuf_scheduler::task::{NoResult, Task};
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    ILoadTask::{BnLoadTask, ILoadTask},
    TaskProgress::TaskProgress,
    TaskResult::TaskResult,
};

use super::watcher::Watcher;
use super::workers::Handle;
use crate::calls::Calls;
use crate::error::{Method, Result, ServiceError};

/// How many calls of `waitFor` may block a binder thread at a time.
#[derive(Debug)]
pub(super) struct Waiters(AtomicUsize);

impl Waiters {
    pub(super) fn new(max: usize) -> Self {
        Self(AtomicUsize::new(max))
    }

    fn permit(&self) -> Option<Waiting<'_>> {
        let one_less = |free: usize| free.checked_sub(1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        taken.ok().map(|_| Waiting(self))
    }
}

struct Waiting<'a>(&'a Waiters);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0 .0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A started request. Dropping it cancels the request.
pub(super) struct LoadTask {
    pub(super) task: Task<Result<TaskResult>>,
    pub(super) method: Method,
    pub(super) deadline: Option<Instant>,
    pub(super) watcher: Arc<Watcher>,
    pub(super) queue: Handle,
    pub(super) place: (Flow, Ticket),
    pub(super) waiters: Arc<Waiters>,
    pub(super) calls: Arc<Calls>,
    /// Counts as an open task of the client.
    pub(super) _open: Reservation,
}

impl LoadTask {
    pub(super) fn into_binder(self) -> Strong<dyn ILoadTask> {
        #[cfg(soong)]
        return BnLoadTask::new_binder(self, binder::BinderFeatures::default());
        #[cfg(not(soong))]
        return BnLoadTask::new_binder(self);
    }

    fn cancel_now(&self) {
        if self.task.cancel() {
            self.leave_queue(NoResult::CancelledInQueue);
        }
    }

    /// Takes a task that has ended in the queue out of it.
    fn leave_queue(&self, reason: NoResult) {
        let (flow, ticket) = self.place;
        self.queue.remove(flow, ticket);
        let error = ServiceError::NoResult(reason);
        self.watcher.failed(error.code(), &error.to_string());
    }

    /// Nobody else looks at the deadline of a task that no worker has begun.
    fn end_if_late(&self) {
        let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if is_late && self.task.end_in_queue(NoResult::LateInQueue) {
            self.leave_queue(NoResult::LateInQueue);
        }
    }

    fn wait_for(&self, timeout_millis: i64) -> Result<bool> {
        let millis = u64::try_from(timeout_millis).map_err(|_| {
            let problem = format!("is {timeout_millis}, expected 0 or more");
            ServiceError::bad_field("timeoutMillis", problem)
        })?;
        self.end_if_late();
        let Some(_waiting) = self.waiters.permit() else { return Ok(self.task.has_ended()) };
        let timeout = Duration::from_millis(millis);
        let left = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if self.task.wait_for(left.map_or(timeout, |left| left.min(timeout))) {
            return Ok(true);
        }
        self.end_if_late();
        Ok(self.task.has_ended())
    }
}

impl Interface for LoadTask {}

impl ILoadTask for LoadTask {
    fn cancel(&self) -> binder::Result<()> {
        self.cancel_now();
        Ok(())
    }

    fn waitFor(&self, timeout_millis: i64) -> binder::Result<bool> {
        self.calls.run(Method::WaitFor, || self.wait_for(timeout_millis))
    }

    fn getProgress(&self) -> binder::Result<TaskProgress> {
        self.end_if_late();
        Ok(self.watcher.progress(self.task.has_ended()))
    }

    fn takeResult(&self) -> binder::Result<TaskResult> {
        self.end_if_late();
        self.calls.run(self.method, || self.task.take().unwrap_or_else(|reason| Err(reason.into())))
    }
}

impl Drop for LoadTask {
    fn drop(&mut self) {
        self.cancel_now();
    }
}
