// SPDX-License-Identifier: Apache-2.0
//! Why a request failed.

use std::fmt;

use dmabuf_uapi::Errno;
use thiserror::Error;

use crate::operation::{Fault, Operation};

/// The result of an engine call.
pub type Result<T> = std::result::Result<T, EngineError>;

/// An argument of a request. Segments and files are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The buffer to be loaded into, which exists already.
    ExistingTarget,
    /// The buffer to be saved.
    Buffer,
    /// The name of the heap.
    Heap,
    /// The size of a new buffer.
    NewBufferSize,
    /// The debug name of a new buffer.
    NewBufferName,
    /// The list of files.
    Files,
    /// A file.
    File(usize),
    /// The list of segments.
    Segments,
    /// A segment as a whole.
    Segment(usize),
    /// A segment's index of its file.
    SegmentFile(usize),
    /// A segment's offset in its file.
    SegmentFileOffset(usize),
    /// A segment's offset in the buffer.
    SegmentBufferOffset(usize),
    /// The SHA-256 that the loaded bytes must have.
    ExpectedSha256,
    /// An fs-verity digest that a file must have: its index among those of the request.
    ExpectedVerity(usize),
    /// The index of the file in such an entry.
    ExpectedVerityFile(usize),
}

impl fmt::Display for Argument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExistingTarget => formatter.write_str("target buffer"),
            Self::Buffer => formatter.write_str("buffer"),
            Self::Heap => formatter.write_str("heap"),
            Self::NewBufferSize => formatter.write_str("size of the new buffer"),
            Self::NewBufferName => formatter.write_str("name of the new buffer"),
            Self::Files => formatter.write_str("files"),
            Self::File(index) => write!(formatter, "file {index}"),
            Self::Segments => formatter.write_str("segments"),
            Self::Segment(index) => write!(formatter, "segment {index}"),
            Self::SegmentFile(index) => write!(formatter, "file index of segment {index}"),
            Self::SegmentFileOffset(index) => write!(formatter, "file offset of segment {index}"),
            Self::SegmentBufferOffset(index) => {
                write!(formatter, "buffer offset of segment {index}")
            }
            Self::ExpectedSha256 => formatter.write_str("expected SHA-256"),
            Self::ExpectedVerity(index) => {
                write!(formatter, "expected fs-verity digest {index}")
            }
            Self::ExpectedVerityFile(index) => {
                write!(formatter, "file index of the expected fs-verity digest {index}")
            }
        }
    }
}

/// Why a request failed. Every variant that concerns an argument names it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// An argument is outside its range, or arguments contradict each other.
    #[error("{argument}: {problem}")]
    BadArgument {
        /// Which argument.
        argument: Argument,
        /// What was given and what was expected.
        problem: String,
    },
    /// A file descriptor's mode does not permit the operation.
    #[error("{argument}: {problem}")]
    BadFd {
        /// Which argument.
        argument: Argument,
        /// What was found and what was expected.
        problem: String,
    },
    /// A file descriptor refers to something of the wrong kind.
    #[error("{argument}: is {found}, expected {expected}")]
    UnsupportedFile {
        /// Which argument.
        argument: Argument,
        /// What it is.
        found: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A file lies on a file system that the service does not load from or save to.
    #[error("{argument}: is on a file system {found}, expected one of {expected}")]
    FileSystem {
        /// Which argument.
        argument: Argument,
        /// What is known of the file system.
        found: String,
        /// The types that are permitted.
        expected: String,
    },
    /// The machine has no heap of that name.
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
    /// The machine would have too little memory left. Nothing was allocated.
    #[error(
        "heap {heap}: cannot allocate {size_bytes} bytes: {available_bytes} are available, of which \
         {in_flight_bytes} are for other requests and {reserve_bytes} for the rest of the device"
    )]
    MemoryShort {
        /// The heap.
        heap: String,
        /// The size asked for, in whole pages.
        size_bytes: u64,
        /// What the kernel could give without swapping.
        available_bytes: u64,
        /// What other requests are about to allocate.
        in_flight_bytes: u64,
        /// What stays for the rest of the device.
        reserve_bytes: u64,
    },
    /// A heap fails, though not for want of memory.
    #[error("heap {heap}: cannot allocate {size_bytes} bytes: {}", errno_text(*errno))]
    HeapFailed {
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
    /// A call to the kernel failed; [`EngineError::fault`] says whose fault that is.
    #[error("{operation}: {}", errno_text(*errno))]
    Io {
        /// What was being done.
        operation: Operation,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The kernel does not tell what the engine has to know about an argument.
    #[error("{argument}: {question}: {}", errno_text(*errno))]
    Inspect {
        /// Which argument.
        argument: Argument,
        /// What was asked.
        question: &'static str,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The loaded bytes have another digest than expected.
    #[error("expected SHA-256: the loaded bytes have SHA-256 {actual}, expected {expected}")]
    DigestMismatch {
        /// The digest asked for, in hexadecimal.
        expected: String,
        /// The digest of the bytes in the buffer, in hexadecimal.
        actual: String,
    },
    /// A file has another fs-verity digest than expected, or none. Nothing was loaded.
    #[error(
        "expected fs-verity digest {index}: file {file_index} has {}, expected {expected}",
        verity_text(found.as_deref())
    )]
    VerityMismatch {
        /// Which entry of the list of expected digests.
        index: usize,
        /// Which file of the request.
        file_index: usize,
        /// The digest asked for: algorithm and hexadecimal.
        expected: String,
        /// The digest of the file; `None` where it has no fs-verity.
        found: Option<String>,
    },
    /// Direct I/O was required and is not possible.
    #[error("direct I/O is required and not possible for segment {segment}: {reason}")]
    DirectIoUnavailable {
        /// Which segment.
        segment: usize,
        /// Why.
        reason: String,
    },
    /// A file is open with `O_DIRECT` alone, and the segment cannot be moved so.
    #[error("segment {segment}: {reason}")]
    OpenedDirect {
        /// Which segment.
        segment: usize,
        /// Why.
        reason: String,
    },
    /// No path that the request permits is possible.
    #[error("no permitted path is possible for segment {segment}: {reasons}")]
    PathUnavailable {
        /// Which segment.
        segment: usize,
        /// Each permitted path, and why it is not possible.
        reasons: String,
    },
    /// The request was cancelled. An existing target, or the files of a save, may hold a part of
    /// it.
    #[error("the request was cancelled")]
    Cancelled,
    /// The request did not end before its deadline. What holds a part of it is as for a cancelled
    /// one.
    #[error("the deadline of the request has passed")]
    DeadlineExceeded,
    /// A defect of the engine: a thread of the request has panicked.
    #[error("{thread}: the thread has panicked")]
    Panicked {
        /// The thread.
        thread: &'static str,
    },
}

impl EngineError {
    /// An argument outside its range.
    pub fn bad_argument(argument: Argument, problem: impl Into<String>) -> Self {
        Self::BadArgument { argument, problem: problem.into() }
    }

    /// No heap was left to try.
    pub(crate) fn no_suitable_heap() -> Self {
        Self::bad_argument(Argument::Heap, "no heap is suitable")
    }

    /// A file descriptor in the wrong mode.
    pub fn bad_fd(argument: Argument, problem: impl Into<String>) -> Self {
        Self::BadFd { argument, problem: problem.into() }
    }

    /// A question about an argument that the kernel does not answer.
    pub fn inspect(argument: Argument, question: &'static str, errno: Errno) -> Self {
        Self::Inspect { argument, question, errno }
    }

    /// A failed system call.
    pub fn io(operation: Operation, errno: Errno) -> Self {
        Self::Io { operation, errno }
    }

    /// A failed allocation from a heap.
    pub(crate) fn allocation(heap: String, size_bytes: u64, errno: Errno) -> Self {
        match Operation::AllocateBuffer.fault(errno) {
            Fault::NoMemory => Self::NoMemory { heap, size_bytes, errno },
            _ => Self::HeapFailed { heap, size_bytes, errno },
        }
    }

    /// Whose fault an errno of the kernel is; `None` for an error that carries none.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::NoMemory { errno, .. } | Self::HeapFailed { errno, .. } => {
                Some(Operation::AllocateBuffer.fault(*errno))
            }
            Self::Io { operation, errno } => Some(operation.fault(*errno)),
            Self::Inspect { errno, .. } => Some(Operation::InspectFd.fault(*errno)),
            _ => None,
        }
    }
}

/// What a file has for an fs-verity digest, for a message.
pub fn verity_text(found: Option<&str>) -> String {
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

    #[test]
    fn a_heap_that_fails_does_not_lack_memory() {
        let of = |errno| EngineError::allocation("system".to_owned(), 4096, errno);
        assert!(matches!(of(Errno::NOMEM), EngineError::NoMemory { .. }));
        for errno in [Errno::INVAL, Errno::PERM, Errno::NODEV, Errno::NOTTY, Errno::INTR] {
            let error = of(errno);
            assert!(matches!(error, EngineError::HeapFailed { .. }), "{error:?}");
            assert_eq!(error.fault(), Some(Fault::Kernel));
        }
    }
}
