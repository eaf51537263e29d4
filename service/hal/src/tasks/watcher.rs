// SPDX-License-Identifier: Apache-2.0
//! How far a task has come, and who is told.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use binder::Strong;
use dmabuf_engine::{Progress, ProgressSink};
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    ILoadCallback::ILoadCallback, LoaderError::LoaderError, TaskProgress::TaskProgress,
};

/// The callback is told of progress this often at most.
const TELL_EVERY: Duration = Duration::from_millis(100);

struct State {
    progress: Progress,
    told: Option<Instant>,
}

/// Keeps the progress of one task, and tells its callback.
pub(super) struct Watcher {
    state: Mutex<State>,
    callback: Option<Strong<dyn ILoadCallback>>,
}

impl Watcher {
    pub(super) fn new(callback: Option<Strong<dyn ILoadCallback>>) -> Self {
        let progress = Progress { moved_bytes: 0, total_bytes: 0 };
        Self { state: Mutex::new(State { progress, told: None }), callback }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far a task has come that has ended, or has not.
    pub(super) fn progress(&self, ended: bool) -> TaskProgress {
        task_progress(self.state().progress, ended)
    }

    /// The task is going to move so many bytes.
    pub(super) fn sized(&self, total_bytes: u64) {
        self.state().progress.total_bytes = total_bytes;
    }

    /// The task has its result.
    pub(super) fn completed(&self) {
        self.end(|callback| callback.onCompleted());
    }

    /// The task has none.
    pub(super) fn failed(&self, code: LoaderError, message: &str) {
        self.end(|callback| callback.onFailed(code, message));
    }

    /// Called once: by the worker of a task that has begun, else by what ends it in the queue.
    fn end(&self, tell: impl FnOnce(&dyn ILoadCallback) -> binder::Result<()>) {
        if let Some(callback) = &self.callback {
            // A client that does not take its calls has its task to ask.
            let _ = tell(&**callback);
        }
    }
}

impl ProgressSink for Watcher {
    fn on_progress(&self, progress: Progress) {
        let mut state = self.state();
        state.progress = progress;
        let Some(callback) = &self.callback else { return };
        let now = Instant::now();
        if state.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            return;
        }
        state.told = Some(now);
        drop(state);
        let _ = callback.onProgress(&task_progress(progress, false));
    }
}

fn task_progress(progress: Progress, ended: bool) -> TaskProgress {
    let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    TaskProgress {
        movedBytes: bytes(progress.moved_bytes),
        totalBytes: bytes(progress.total_bytes),
        ended,
    }
}
