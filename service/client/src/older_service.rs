// SPDX-License-Identifier: Apache-2.0
//! Requests to a service that was built before tasks: the blocking call, as a task that has ended.

use std::sync::{Mutex, PoisonError};

use binder::{Interface, Status, StatusCode, Strong};
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    ILoadCallback::ILoadCallback,
    ILoadTask::{BnLoadTask, ILoadTask},
    LoaderError::LoaderError,
    TaskProgress::TaskProgress,
    TaskResult::TaskResult,
};

#[cfg(not(soong))]
use binder::StatusExt as _;

#[cfg(soong)]
const UNKNOWN_TRANSACTION: StatusCode = StatusCode::UNKNOWN_TRANSACTION;
#[cfg(not(soong))]
const UNKNOWN_TRANSACTION: StatusCode = StatusCode::UnknownTransaction;

type Callback<'a> = Option<&'a Strong<dyn ILoadCallback>>;

/// The task that a service has started, or, if the service does not know the call, that of the
/// blocking call, made here.
///
/// # Errors
/// Any other error of `started`.
pub(crate) fn or_blocking(
    started: binder::Result<Strong<dyn ILoadTask>>,
    callback: Callback,
    blocking: impl FnOnce() -> binder::Result<TaskResult>,
) -> binder::Result<Strong<dyn ILoadTask>> {
    match started {
        Err(status) if status.transaction_error() == UNKNOWN_TRANSACTION => {
            log::info!(
                "the service is older than tasks: the request blocks, and cannot be cancelled"
            );
            Ok(EndedTask::of(blocking(), callback).into_binder())
        }
        other => other,
    }
}

/// A task whose outcome is here.
struct EndedTask {
    outcome: Mutex<Option<binder::Result<TaskResult>>>,
    moved_bytes: i64,
}

impl EndedTask {
    fn of(outcome: binder::Result<TaskResult>, callback: Callback) -> Self {
        if let Some(callback) = callback {
            // As in the service: nobody waits for a callback, and nobody minds that it fails.
            let _ = match &outcome {
                Ok(_) => callback.onCompleted(),
                Err(status) => callback.onFailed(code(status), &status.get_description()),
            };
        }
        let moved_bytes = outcome.as_ref().map_or(0, |result| segment_bytes(result).iter().sum());
        Self { outcome: Mutex::new(Some(outcome)), moved_bytes }
    }

    fn into_binder(self) -> Strong<dyn ILoadTask> {
        #[cfg(soong)]
        return BnLoadTask::new_binder(self, binder::BinderFeatures::default());
        #[cfg(not(soong))]
        return BnLoadTask::new_binder(self);
    }
}

/// The code that a callback is told: what is not an error of the service has none.
fn code(status: &Status) -> LoaderError {
    match status.service_specific_error() {
        0 => LoaderError::INTERNAL,
        code => LoaderError(code),
    }
}

fn segment_bytes(result: &TaskResult) -> &[i64] {
    match result {
        TaskResult::Load(result) => &result.segmentBytes,
        TaskResult::Save(result) => &result.segmentBytes,
    }
}

impl Interface for EndedTask {}

impl ILoadTask for EndedTask {
    fn cancel(&self) -> binder::Result<()> {
        Ok(())
    }

    fn waitFor(&self, _: i64) -> binder::Result<bool> {
        Ok(true)
    }

    fn getProgress(&self) -> binder::Result<TaskProgress> {
        let bytes = self.moved_bytes;
        Ok(TaskProgress { movedBytes: bytes, totalBytes: bytes, ended: true })
    }

    fn takeResult(&self) -> binder::Result<TaskResult> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.unwrap_or_else(|| Err(result_taken()))
    }
}

fn result_taken() -> Status {
    let (code, message) = (LoaderError::RESULT_TAKEN.0, "the outcome was handed out before");
    #[cfg(soong)]
    return Status::new_service_specific_error_str(code, Some(message));
    #[cfg(not(soong))]
    return Status::new_service_specific_error(code, Some(message.to_owned()));
}
