// SPDX-License-Identifier: Apache-2.0
//! Requests that run while their client goes on: the queue and its workers (`workers`), the object
//! that the client gets (`load_task`), and what its callback is told (`watcher`).

mod load_task;
mod watcher;
mod workers;

use std::sync::Arc;

use binder::Strong;
use dmabuf_engine::{Context, Errno};
use dmabuf_scheduler::fair_queue::Flow;
use dmabuf_scheduler::ledger::Resource;
use dmabuf_scheduler::task::task;
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    ILoadCallback::ILoadCallback, ILoadTask::ILoadTask, TaskResult::TaskResult,
};

use crate::calls::Calls;
use crate::error::{Method, Result, ServiceError};
use crate::requests::Requests;

use load_task::{LoadTask, Waiters};
use watcher::Watcher;
pub(crate) use workers::WorkerStats;
use workers::{Share, Workers};

/// More loads at a time do not make the storage faster.
const SHARE: Share = Share { all: 8, kept_for_critical: 2, client: 4 };

/// Of the threads that calls which allocate, load or save leave.
const MAX_WAITERS: usize = 8;

/// What is known to a task's work besides its request: the context, and whom to tell of its size.
type Work = Box<dyn FnOnce(&Requests, &Context, &dyn Fn(u64)) -> Result<TaskResult> + Send>;

/// The started requests of all clients.
pub(crate) struct Tasks {
    requests: Requests,
    workers: Workers,
    waiters: Arc<Waiters>,
    calls: Arc<Calls>,
}

impl Tasks {
    pub(crate) fn new(requests: Requests, calls: Arc<Calls>) -> Self {
        let waiters = Arc::new(Waiters::new(MAX_WAITERS));
        Self { requests, workers: Workers::new(SHARE), waiters, calls }
    }

    /// What the workers are doing.
    pub(crate) fn worker_stats(&self) -> WorkerStats {
        self.workers.stats()
    }

    /// Queues the work of a request.
    ///
    /// # Errors
    /// [`ServiceError::Quota`]; [`ServiceError::NoThread`].
    pub(crate) fn start(
        &self,
        method: Method,
        context: Context,
        callback: Option<Strong<dyn ILoadCallback>>,
        work: Work,
    ) -> Result<Strong<dyn ILoadTask>> {
        let open = self.requests.reserve(context.client, Resource::OpenTasks, 1)?;
        let queued = self.requests.reserve(context.client, Resource::QueuedRequests, 1)?;
        let watcher = Arc::new(Watcher::new(callback));
        let context = Context { progress: Some(Arc::clone(&watcher) as Arc<_>), ..context };
        let flow = Flow { client: context.client, priority: context.priority };
        let deadline = context.deadline;
        let (task, runner) = task(context.cancel.clone());
        let queue = self.workers.handle();
        let job = {
            let (requests, watcher) = (self.requests.clone(), Arc::clone(&watcher));
            let (queue, calls) = (queue.clone(), Arc::clone(&self.calls));
            move || {
                if !runner.begin() {
                    return;
                }
                drop(queued);
                let sized = |bytes| {
                    watcher.sized(bytes);
                    queue.charge(flow, bytes);
                };
                let result = calls.catch(|| work(&requests, &context, &sized));
                let failure =
                    result.as_ref().err().map(|error| (error.code(), error.message(method)));
                // First, so that who is told finds the result.
                runner.finish(result);
                match failure {
                    None => watcher.completed(),
                    Some((code, message)) => watcher.failed(code, &message),
                }
            }
        };
        let ticket = self.workers.push(flow, Box::new(job)).map_err(|error| {
            ServiceError::NoThread(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
        })?;
        let task = LoadTask {
            task,
            method,
            deadline,
            watcher,
            queue,
            place: (flow, ticket),
            waiters: Arc::clone(&self.waiters),
            calls: Arc::clone(&self.calls),
            _open: open,
        };
        Ok(task.into_binder())
    }
}
