// SPDX-License-Identifier: Apache-2.0
//! The errors of calls, as clients see them: the only place that converts an error to a binder
//! status and maps the engine's arguments to the names of AIDL fields.

use binder::IntoBinderResult;
use dmabuf_engine::{errno_text, verity_text, Argument, EngineError, Errno, Fault, Operation};
use dmabuf_scheduler::ledger::QuotaExceeded;
use dmabuf_scheduler::task::NoResult;
use thiserror::Error;
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::LoaderError::LoaderError;

/// The result of a call.
pub type Result<T> = std::result::Result<T, ServiceError>;

/// Why a call failed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ServiceError {
    /// A field of the request is outside its range.
    #[error("{field}: {problem}")]
    BadField {
        /// The field, as the request spells it.
        field: String,
        /// The value found and the value expected.
        problem: String,
    },
    /// A field of the request lacks its file descriptor, or the fd cannot be duplicated.
    #[error("{field}: {problem}")]
    BadFd {
        /// The field, as the request spells it.
        field: String,
        /// The value or the errno found.
        problem: String,
    },
    /// The service cannot make its copy of an fd of the request.
    #[error("{field}: the service cannot duplicate the fd: {}", errno_text(*errno))]
    NoCopy {
        /// The field, as the request spells it.
        field: String,
        /// The answer of the kernel.
        errno: Errno,
    },
    /// The service cannot start a thread.
    #[error("the service cannot start a thread: {}", errno_text(*.0))]
    NoThread(Errno),
    /// The client, or all together, would hold too much.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// A task has no result.
    #[error(transparent)]
    NoResult(#[from] NoResult),
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A defect of the service: the call has panicked.
    #[error("the call has panicked; the log of the service says where")]
    Panicked,
}

impl ServiceError {
    /// Makes the error for a field that is outside its range.
    pub(crate) fn bad_field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::BadField { field: field.into(), problem: problem.into() }
    }

    /// Makes the error for a field without a usable fd.
    pub(crate) fn bad_fd(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::BadFd { field: field.into(), problem: problem.into() }
    }

    /// The error code that clients see.
    pub fn code(&self) -> LoaderError {
        match self {
            Self::BadField { .. } => LoaderError::BAD_ARGUMENT,
            Self::BadFd { .. } => LoaderError::BAD_FD,
            Self::NoCopy { errno, .. } => code_of_fault(Operation::DuplicateFd.fault(*errno)),
            // EAGAIN and ENOMEM are all that pthread_create(3) has.
            Self::NoThread(_) => LoaderError::NO_MEMORY,
            Self::Quota(_) => LoaderError::QUOTA_EXCEEDED,
            Self::NoResult(reason) => match reason {
                NoResult::NotEnded => LoaderError::NOT_ENDED,
                NoResult::Taken => LoaderError::RESULT_TAKEN,
                NoResult::CancelledInQueue => LoaderError::CANCELLED,
                NoResult::LateInQueue => LoaderError::DEADLINE_EXCEEDED,
                NoResult::Lost => LoaderError::INTERNAL,
            },
            Self::Engine(error) => code_of(error),
            Self::Panicked => LoaderError::INTERNAL,
        }
    }

    /// The message that clients see.
    pub(crate) fn message(&self, method: Method) -> String {
        match self {
            Self::Engine(error) => message_of(error, method),
            _ => self.to_string(),
        }
    }
}

/// A method of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `IDmaBufLoader.getHeaps`.
    GetHeaps,
    /// `IDmaBufLoader.getCapabilities`.
    GetCapabilities,
    /// `IDmaBufLoader.allocate`.
    Allocate,
    /// `IDmaBufLoader.load`.
    Load,
    /// `IDmaBufLoader.save`.
    Save,
    /// `IDmaBufLoader.startLoad`, and what its task throws.
    StartLoad,
    /// `IDmaBufLoader.startSave`, and what its task throws.
    StartSave,
    /// `ILoadTask.waitFor`.
    WaitFor,
    /// `IDmaBufLoader.getUsage`.
    GetUsage,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GetHeaps => "getHeaps",
            Self::GetCapabilities => "getCapabilities",
            Self::Allocate => "allocate",
            Self::Load => "load",
            Self::Save => "save",
            Self::StartLoad => "startLoad",
            Self::StartSave => "startSave",
            Self::WaitFor => "waitFor",
            Self::GetUsage => "getUsage",
        }
    }

    /// Where its request has the fields of a new buffer.
    pub(crate) fn new_buffer_prefix(self) -> &'static str {
        match self {
            Self::Load | Self::StartLoad => "target.newBuffer.",
            Self::GetHeaps
            | Self::GetCapabilities
            | Self::GetUsage
            | Self::Allocate
            | Self::Save
            | Self::StartSave
            | Self::WaitFor => "",
        }
    }
}

fn code_of(error: &EngineError) -> LoaderError {
    match error {
        EngineError::BadArgument { .. } => LoaderError::BAD_ARGUMENT,
        EngineError::BadFd { .. } => LoaderError::BAD_FD,
        EngineError::UnsupportedFile { .. } | EngineError::FileSystem { .. } => {
            LoaderError::UNSUPPORTED_FILE
        }
        EngineError::HeapUnknown { .. } => LoaderError::HEAP_UNKNOWN,
        EngineError::NoMemory { .. } | EngineError::MemoryShort { .. } => LoaderError::NO_MEMORY,
        EngineError::Busy => LoaderError::BUSY,
        EngineError::HeapFailed { .. } | EngineError::Io { .. } | EngineError::Inspect { .. } => {
            code_of_fault(error.fault().unwrap_or(Fault::Kernel))
        }
        EngineError::DigestMismatch { .. } | EngineError::VerityMismatch { .. } => {
            LoaderError::DIGEST_MISMATCH
        }
        EngineError::DirectIoUnavailable { .. } | EngineError::OpenedDirect { .. } => {
            LoaderError::DIRECT_IO_UNAVAILABLE
        }
        EngineError::PathUnavailable { .. } => LoaderError::PATH_UNAVAILABLE,
        EngineError::Cancelled => LoaderError::CANCELLED,
        EngineError::DeadlineExceeded => LoaderError::DEADLINE_EXCEEDED,
        EngineError::Panicked { .. } => LoaderError::INTERNAL,
    }
}

/// What the client sees of an errno.
fn code_of_fault(fault: Fault) -> LoaderError {
    match fault {
        Fault::BadArgument => LoaderError::BAD_ARGUMENT,
        Fault::BadFd => LoaderError::BAD_FD,
        Fault::UnsupportedFile => LoaderError::UNSUPPORTED_FILE,
        Fault::NoMemory => LoaderError::NO_MEMORY,
        Fault::NoSpace => LoaderError::NO_SPACE,
        Fault::Busy => LoaderError::BUSY,
        Fault::Storage => LoaderError::IO,
        Fault::Kernel => LoaderError::INTERNAL,
    }
}

fn message_of(error: &EngineError, method: Method) -> String {
    let field = |argument| field_of(argument, method);
    match error {
        EngineError::BadArgument { argument, problem }
        | EngineError::BadFd { argument, problem } => {
            format!("{}: {problem}", field(*argument))
        }
        EngineError::UnsupportedFile { argument, found, expected } => {
            format!("{}: is {found}, expected {expected}", field(*argument))
        }
        EngineError::FileSystem { argument, found, expected } => {
            let field = field(*argument);
            format!("{field}: is on a file system {found}, expected one of {expected}")
        }
        EngineError::Inspect { argument, question, errno } => {
            format!("{}: {question}: {}", field(*argument), errno_text(*errno))
        }
        EngineError::DigestMismatch { expected, actual } => format!(
            "{}: the loaded bytes have SHA-256 {actual}, expected {expected}",
            field(Argument::ExpectedSha256)
        ),
        EngineError::VerityMismatch { index, file_index, expected, found } => format!(
            "{}: {} has {}, expected {expected}",
            field(Argument::ExpectedVerity(*index)),
            field(Argument::File(*file_index)),
            verity_text(found.as_deref())
        ),
        EngineError::DirectIoUnavailable { segment, reason } => {
            let segment = field(Argument::Segment(*segment));
            format!("policy: REQUIRE_DIRECT cannot be kept for {segment}: {reason}")
        }
        EngineError::OpenedDirect { segment, reason } => {
            format!("{}: {reason}", field(Argument::Segment(*segment)))
        }
        EngineError::PathUnavailable { segment, reasons } => {
            let segment = field(Argument::Segment(*segment));
            format!("paths: none is possible for {segment}: {reasons}")
        }
        EngineError::HeapUnknown { .. }
        | EngineError::NoMemory { .. }
        | EngineError::MemoryShort { .. }
        | EngineError::HeapFailed { .. }
        | EngineError::Panicked { .. }
        | EngineError::Busy
        | EngineError::Io { .. }
        | EngineError::Cancelled
        | EngineError::DeadlineExceeded => error.to_string(),
    }
}

/// The field of a request that an argument of the engine comes from.
fn field_of(argument: Argument, method: Method) -> String {
    let in_new_buffer = |field: &str| format!("{}{field}", method.new_buffer_prefix());
    match argument {
        Argument::ExistingTarget => "target.existing".to_owned(),
        Argument::Buffer => "buffer".to_owned(),
        Argument::Heap => in_new_buffer("heap"),
        Argument::NewBufferSize => in_new_buffer("sizeBytes"),
        Argument::NewBufferName => in_new_buffer("name"),
        Argument::Files => "files".to_owned(),
        Argument::File(index) => format!("files[{index}]"),
        Argument::Segments => "segments".to_owned(),
        Argument::Segment(index) => format!("segments[{index}]"),
        Argument::SegmentFile(index) => segment_field(index, "fileIndex"),
        Argument::SegmentFileOffset(index) => segment_field(index, "fileOffsetBytes"),
        Argument::SegmentBufferOffset(index) => segment_field(index, "bufferOffsetBytes"),
        Argument::ExpectedSha256 => "digests.expectedSha256".to_owned(),
        Argument::ExpectedVerity(index) => format!("digests.expectedVerity[{index}]"),
        Argument::ExpectedVerityFile(index) => verity_field(index, "fileIndex"),
    }
}

/// A field of a segment.
pub(crate) fn segment_field(index: usize, field: &str) -> String {
    format!("segments[{index}].{field}")
}

/// A field of an expected fs-verity digest.
pub(crate) fn verity_field(index: usize, field: &str) -> String {
    format!("digests.expectedVerity[{index}].{field}")
}

/// Makes the result of a call the status of a method, and hands the code and the message of an
/// error to `log`.
///
/// # Errors
/// The service-specific exception for the error.
pub(crate) fn to_binder<T>(
    method: Method,
    result: Result<T>,
    log: impl FnOnce(LoaderError, &str),
) -> binder::Result<T> {
    result.or_else(|error| {
        let (code, message) = (error.code(), error.message(method));
        log(code, &message);
        Err(message).or_service_specific_exception_with(code.0, |message| message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(error: EngineError, method: Method) -> String {
        ServiceError::from(error).message(method)
    }

    #[test]
    fn status_carries_code_and_message() {
        let failed = Err(EngineError::bad_argument(Argument::NewBufferSize, "is 0").into());
        let mut logged = None;
        let log = |code, message: &str| logged = Some((code, message.to_owned()));
        let status = to_binder::<()>(Method::Allocate, failed, log).unwrap_err();
        assert_eq!(logged, Some((LoaderError::BAD_ARGUMENT, "sizeBytes: is 0".to_owned())));
        assert_eq!(status.service_specific_error(), LoaderError::BAD_ARGUMENT.0);
        assert!(status.to_string().contains("sizeBytes: is 0"), "{status}");
    }

    #[test]
    fn a_service_without_fds_does_not_blame_the_client() {
        let error = ServiceError::NoCopy { field: "files[3]".to_owned(), errno: Errno::MFILE };
        assert_eq!(error.code(), LoaderError::NO_MEMORY);
        let expected = "files[3]: the service cannot duplicate the fd: errno=24 ";
        assert!(error.message(Method::Load).starts_with(expected), "{error}");
    }

    #[test]
    fn arguments_have_the_names_of_aidl_fields() {
        let spelled = |argument| message(EngineError::bad_argument(argument, "x"), Method::Load);
        for (argument, field) in [
            (Argument::NewBufferSize, "target.newBuffer.sizeBytes"),
            (Argument::NewBufferName, "target.newBuffer.name"),
            (Argument::ExistingTarget, "target.existing"),
            (Argument::File(3), "files[3]"),
            (Argument::SegmentFile(1), "segments[1].fileIndex"),
            (Argument::SegmentBufferOffset(2), "segments[2].bufferOffsetBytes"),
            (Argument::ExpectedVerityFile(2), "digests.expectedVerity[2].fileIndex"),
        ] {
            assert_eq!(spelled(argument), format!("{field}: x"));
        }
        let in_allocate = EngineError::bad_argument(Argument::NewBufferName, "x");
        assert_eq!(message(in_allocate, Method::Allocate), "name: x");
    }

    #[test]
    fn a_question_that_the_kernel_does_not_answer_names_the_field() {
        let errno = dmabuf_engine::Errno::IO;
        let error = EngineError::inspect(Argument::File(3), "statx", errno);
        assert_eq!(ServiceError::from(error).code(), LoaderError::IO);
        let error = EngineError::inspect(Argument::ExistingTarget, "size of the buffer", errno);
        assert_eq!(
            message(error, Method::Load),
            "target.existing: size of the buffer: errno=5 (Input/output error)"
        );
    }

    #[test]
    fn every_errno_of_every_operation_has_a_code() {
        // What a client sees: of each operation, for each errno of Linux.
        for operation in Operation::ALL {
            for errno in (1..=133).map(Errno::from_raw_os_error) {
                let code = ServiceError::from(EngineError::io(operation, errno)).code();
                assert_eq!(code, code_of_fault(operation.fault(errno)), "{operation}: {errno:?}");
            }
        }
        for (operation, errno, code) in [
            (Operation::AllocateBounceMemory, Errno::NOMEM, LoaderError::NO_MEMORY),
            (Operation::MapBuffer, Errno::NOMEM, LoaderError::NO_MEMORY),
            (Operation::MapBuffer, Errno::INVAL, LoaderError::UNSUPPORTED_FILE),
            (Operation::BeginCpuAccess, Errno::PERM, LoaderError::BAD_FD),
            (Operation::BeginCpuAccess, Errno::TIMEDOUT, LoaderError::BUSY),
            (Operation::CopyRangeFromFile, Errno::IO, LoaderError::IO),
            (Operation::ReadFile, Errno::NOKEY, LoaderError::BAD_FD),
            (Operation::CopyRangeToFile, Errno::PERM, LoaderError::BAD_FD),
            (Operation::WriteFile, Errno::NOSPC, LoaderError::NO_SPACE),
            (Operation::WriteFile, Errno::DQUOT, LoaderError::NO_SPACE),
            (Operation::WriteFileDirectly, Errno::FBIG, LoaderError::NO_SPACE),
            (Operation::WriteFile, Errno::ROFS, LoaderError::IO),
            (Operation::WriteFile, Errno::TXTBSY, LoaderError::BUSY),
            (Operation::ReadFile, Errno::INTR, LoaderError::INTERNAL),
        ] {
            let seen = ServiceError::from(EngineError::io(operation, errno)).code();
            assert_eq!(seen, code, "{operation}: {errno:?}");
        }
    }

    #[test]
    fn only_a_lack_of_memory_is_no_memory() {
        let of = |errno| {
            ServiceError::from(EngineError::HeapFailed {
                heap: "system".to_owned(),
                size_bytes: 4096,
                errno,
            })
        };
        for errno in [Errno::INVAL, Errno::NODEV, Errno::PERM, Errno::ACCESS, Errno::NOTTY] {
            assert_eq!(of(errno).code(), LoaderError::INTERNAL, "{errno:?}");
        }
        let message = of(Errno::PERM).message(Method::Allocate);
        assert!(
            message.starts_with("heap system: cannot allocate 4096 bytes: errno=1"),
            "{message}"
        );
    }

    #[test]
    fn messages_about_two_arguments_name_both() {
        let reason = "because".to_owned();
        let error = EngineError::DirectIoUnavailable { segment: 4, reason };
        assert_eq!(
            message(error, Method::Load),
            "policy: REQUIRE_DIRECT cannot be kept for segments[4]: because"
        );
        let reason = "because".to_owned();
        let error = EngineError::OpenedDirect { segment: 4, reason };
        assert_eq!(message(error, Method::Load), "segments[4]: because");
        let error = EngineError::VerityMismatch {
            index: 2,
            file_index: 3,
            expected: "sha256:00".to_owned(),
            found: None,
        };
        assert_eq!(
            message(error, Method::Load),
            "digests.expectedVerity[2]: files[3] has no fs-verity, expected sha256:00"
        );
    }
}
