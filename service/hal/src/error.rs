// SPDX-License-Identifier: Apache-2.0
//! Where an engine error becomes a binder status.

use binder::IntoBinderResult;
use dmabuf_engine::EngineError;
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::LoaderError::LoaderError;

/// The code that clients see for an error.
pub fn code_of(error: &EngineError) -> LoaderError {
    match error {
        EngineError::BadArgument { .. } => LoaderError::BAD_ARGUMENT,
        EngineError::BadFd { .. } => LoaderError::BAD_FD,
        EngineError::UnsupportedFile { .. } => LoaderError::UNSUPPORTED_FILE,
        EngineError::HeapUnknown { .. } => LoaderError::HEAP_UNKNOWN,
        EngineError::NoMemory { .. } => LoaderError::NO_MEMORY,
        EngineError::Busy => LoaderError::BUSY,
        EngineError::Io { .. } => LoaderError::IO,
        EngineError::DigestMismatch { .. } | EngineError::VerityMismatch { .. } => {
            LoaderError::DIGEST_MISMATCH
        }
        EngineError::DirectIoUnavailable { .. } => LoaderError::DIRECT_IO_UNAVAILABLE,
        EngineError::PathUnavailable { .. } => LoaderError::PATH_UNAVAILABLE,
    }
}

/// Logs an error and makes it the status of the method `method`.
///
/// # Errors
/// The service-specific exception for the error.
pub fn to_binder<T>(method: &str, result: dmabuf_engine::Result<T>) -> binder::Result<T> {
    result.or_else(|error| {
        let code = code_of(&error);
        log::warn!(
            "{method} for uid {} failed with {}: {error}",
            binder::ThreadState::get_calling_uid(),
            code.0
        );
        Err(error).or_service_specific_exception_with(code.0, |error| error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_carries_code_and_message() {
        let failed = Err(EngineError::bad_argument("sizeBytes", "is 0"));
        let status = to_binder::<()>("allocate", failed).unwrap_err();
        assert_eq!(status.service_specific_error(), LoaderError::BAD_ARGUMENT.0);
        assert!(status.to_string().contains("sizeBytes: is 0"), "{status}");
    }
}
