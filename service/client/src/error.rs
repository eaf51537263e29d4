// SPDX-License-Identifier: Apache-2.0
//! What a client sees when a call fails.

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
        /// Where it was looked for.
        endpoint: String,
        /// What binder answered.
        status: binder::StatusCode,
    },
    /// The service refused the request.
    #[error("{message}")]
    Refused {
        /// The documented code.
        code: LoaderError,
        /// Which argument, and what was expected.
        message: String,
    },
    /// The call did not reach the service or its answer did not arrive.
    #[error("the call failed: {0}")]
    Transport(String),
    /// A file of the caller could not be opened or duplicated.
    #[error("{what}: {source}")]
    File {
        /// Which file.
        what: String,
        /// What the system answered.
        source: std::io::Error,
    },
}

impl ClientError {
    /// The service's code where it refused the request.
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
