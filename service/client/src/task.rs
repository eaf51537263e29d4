// SPDX-License-Identifier: Apache-2.0
//! Requests that run while the caller goes on.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use binder::Strong;
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    ILoadTask::ILoadTask, LoadResult::LoadResult, SaveResult::SaveResult,
    TaskProgress::TaskProgress, TaskResult::TaskResult,
};

use crate::error::{ClientError, Result};

/// The service may end a wait early; the next one begins after this time.
const WAIT_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// The longest wait that one call asks for. A service that dies ends the call.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// What a task results in: [`LoadResult`] or [`SaveResult`].
pub trait Outcome: Sized {
    /// The result out of what the service returns; `None` for that of another kind of task.
    fn from_wire(result: TaskResult) -> Option<Self>;
}

impl Outcome for LoadResult {
    fn from_wire(result: TaskResult) -> Option<Self> {
        match result {
            TaskResult::Load(result) => Some(result),
            TaskResult::Save(_) => None,
        }
    }
}

impl Outcome for SaveResult {
    fn from_wire(result: TaskResult) -> Option<Self> {
        match result {
            TaskResult::Save(result) => Some(result),
            TaskResult::Load(_) => None,
        }
    }
}

/// A load or a save that the service runs. Dropping it cancels it.
pub struct Task<R> {
    task: Strong<dyn ILoadTask>,
    result: PhantomData<fn() -> R>,
}

impl<R: Outcome> Task<R> {
    pub(crate) fn new(task: Strong<dyn ILoadTask>) -> Self {
        Self { task, result: PhantomData }
    }

    /// The binder interface.
    pub fn service(&self) -> &Strong<dyn ILoadTask> {
        &self.task
    }

    /// Asks the service to end the task. What has its result keeps it.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub fn cancel(&self) -> Result<()> {
        Ok(self.task.cancel()?)
    }

    /// How far the task has come.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub fn progress(&self) -> Result<TaskProgress> {
        Ok(self.task.getProgress()?)
    }

    /// Waits until the task has ended, but no longer than `timeout`; says whether it has.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub fn wait_for(&self, timeout: Duration) -> Result<bool> {
        let begun = Instant::now();
        loop {
            let left = timeout.saturating_sub(begun.elapsed());
            let called = Instant::now();
            let millis = left.min(LONGEST_CALL).as_millis();
            if self.task.waitFor(i64::try_from(millis).unwrap_or(i64::MAX))? {
                return Ok(true);
            }
            if begun.elapsed() >= timeout {
                return Ok(false);
            }
            // Other calls wait in the service, which let this one not.
            if called.elapsed() < WAIT_AGAIN_AFTER {
                std::thread::sleep(WAIT_AGAIN_AFTER.min(left));
            }
        }
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the codes that `IDmaBufLoader.load` or `save` documents.
    pub fn finish(self) -> Result<R> {
        while !self.wait_for(LONGEST_CALL)? {}
        let result = R::from_wire(self.task.takeResult()?);
        result.ok_or_else(|| ClientError::Transport("the result of another task".to_owned()))
    }
}
