// SPDX-License-Identifier: Apache-2.0
//! What can go wrong, in the terms of the caller's request.

use dmabuf_uapi::Errno;
use thiserror::Error;

use crate::path::Way;

/// The result of an engine call.
pub type Result<T> = std::result::Result<T, EngineError>;

/// Why a request failed. Every variant that concerns an argument names it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// An argument is outside its range, or arguments contradict each other.
    #[error("{argument}: {problem}")]
    BadArgument {
        /// Which argument, as the request spells it.
        argument: String,
        /// What was given and what was expected.
        problem: String,
    },
    /// A file descriptor's mode does not permit the operation.
    #[error("{argument}: {problem}")]
    BadFd {
        /// Which argument.
        argument: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A file descriptor refers to something of the wrong kind.
    #[error("{argument}: is {found}, expected {expected}")]
    UnsupportedFile {
        /// Which argument.
        argument: String,
        /// What it is.
        found: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// There is no heap of that name.
    #[error("heap: no heap {name:?}; there are {known}")]
    HeapUnknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A heap has not enough memory.
    #[error("heap {heap}: cannot allocate {size_bytes} bytes: {}", errno_text(*errno))]
    NoMemory {
        /// The heap.
        heap: String,
        /// The size asked for, in whole pages.
        size_bytes: u64,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The buffer is attached to a device, or the kernel has it mapped.
    #[error("buffer: in use by a device or the kernel")]
    Busy,
    /// The file system, the storage or the exporter failed.
    #[error("{operation}: {}", errno_text(*errno))]
    Io {
        /// What was being done.
        operation: String,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The loaded bytes have another digest than expected.
    #[error("digests.expectedSha256: the loaded bytes have SHA-256 {actual}, expected {expected}")]
    DigestMismatch {
        /// The digest asked for, in hexadecimal.
        expected: String,
        /// The digest of the bytes in the buffer, in hexadecimal.
        actual: String,
    },
    /// A file has another fs-verity digest than expected, or none. Nothing was loaded.
    #[error("{argument}: files[{file_index}] has {}, expected {expected}", verity_text(found))]
    VerityMismatch {
        /// Which expected digest.
        argument: String,
        /// Which file of the request.
        file_index: usize,
        /// The digest asked for: algorithm and hexadecimal.
        expected: String,
        /// The digest of the file; `None` where it has no fs-verity.
        found: Option<String>,
    },
    /// Direct I/O was required and is not possible.
    #[error("policy: REQUIRE_DIRECT cannot be kept for {segment}: {reason}")]
    DirectIoUnavailable {
        /// Which segment.
        segment: String,
        /// Why.
        reason: String,
    },
    /// The named path is not possible.
    #[error("policy: NAMED cannot be kept for {segment}: {way}: {reason}")]
    PathUnavailable {
        /// Which segment.
        segment: String,
        /// The best form of the named path.
        way: Way,
        /// Why it is not possible.
        reason: String,
    },
}

impl EngineError {
    /// An argument outside its range.
    pub fn bad_argument(argument: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::BadArgument { argument: argument.into(), problem: problem.into() }
    }

    /// A file descriptor in the wrong mode.
    pub fn bad_fd(argument: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::BadFd { argument: argument.into(), problem: problem.into() }
    }

    /// A failed system call.
    pub fn io(operation: impl Into<String>, errno: Errno) -> Self {
        Self::Io { operation: operation.into(), errno }
    }
}

fn verity_text(found: &Option<String>) -> String {
    match found {
        Some(digest) => format!("the fs-verity digest {digest}"),
        None => "no fs-verity".to_owned(),
    }
}

/// `errno=5 (Input/output error)`.
pub fn errno_text(errno: Errno) -> String {
    let number = errno.raw_os_error();
    let text = std::io::Error::from_raw_os_error(number).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    format!("errno={number} ({text})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_text_has_number_and_words() {
        assert_eq!(errno_text(Errno::IO), "errno=5 (Input/output error)");
    }
}
