// SPDX-License-Identifier: Apache-2.0
//! The errors of client calls.

use thiserror::Error;
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::LoaderError::LoaderError;

#[cfg(not(soong))]
use binder::StatusExt as _;

/// The result of a client call.
pub type Result<T> = std::result::Result<T, ClientError>;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The service cannot be reached.
    #[error("no DMA-BUF loader at {endpoint}: {status:?}")]
    Unreachable {
        /// The service name or the socket.
        endpoint: String,
        /// The binder status.
        status: binder::StatusCode,
    },
    /// The service refused the request.
    #[error("{message}")]
    Refused {
        /// The error code of the contract.
        code: LoaderError,
        /// The field that was refused, with the value found and expected.
        message: String,
    },
    /// The call did not reach the service or its answer did not arrive.
    #[error("the call failed: {0}")]
    Transport(String),
    /// A file of the caller could not be opened or duplicated.
    #[error("{what}: {source}")]
    File {
        /// The operation that failed.
        what: String,
        /// The error of the system call.
        source: std::io::Error,
    },
}

impl ClientError {
    /// The service's error code, if the service refused the request.
    pub fn code(&self) -> Option<LoaderError> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl From<binder::Status> for ClientError {
    fn from(status: binder::Status) -> Self {
        match status.service_specific_error() {
            0 => Self::Transport(status.get_description()),
            code => Self::Refused { code: LoaderError(code), message: status.get_description() },
        }
    }
}
