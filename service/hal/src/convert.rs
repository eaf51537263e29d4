// SPDX-License-Identifier: Apache-2.0
//! Between the AIDL types and the engine's: checks what the wire can carry and the engine cannot express.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use binder::ParcelFileDescriptor;
use dmabuf_engine::digest::Sha256;
use dmabuf_engine::engine::HeapPath;
use dmabuf_engine::error::{EngineError, Result};
use dmabuf_engine::fs_verity::{self, Algorithm, FileDigest};
use dmabuf_engine::heap::{Heap, HeapKind as EngineHeapKind};
use dmabuf_engine::path::{Path, Reason, Refusal};
use dmabuf_engine::plan::NotTaken;
use dmabuf_engine::report::Report;
use dmabuf_engine::request::{self, ClientId, Length, Policy, Segments, Target};
use dmabuf_engine::{Buffer, LoadOutcome, SaveOutcome};
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    BufferTarget::BufferTarget,
    Digests::Digests,
    DmaBuf::DmaBuf,
    HeapInfo::HeapInfo,
    HeapKind::HeapKind,
    LoadPath::LoadPath,
    LoadRequest::LoadRequest,
    LoadResult::LoadResult,
    NewBuffer::NewBuffer,
    NotTakenReason::NotTakenReason,
    PathNotTaken::PathNotTaken,
    PathPolicy::PathPolicy,
    PathSupport::PathSupport,
    SaveRequest::SaveRequest,
    SaveResult::SaveResult,
    Segment::{Segment, TO_END},
    TransferReport::TransferReport,
    VerityAlgorithm::VerityAlgorithm,
    VerityDigest::VerityDigest,
};

/// Reads a size or offset that must not be negative.
fn not_negative(argument: impl FnOnce() -> String, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| {
        EngineError::bad_argument(argument(), format!("is {value}, expected 0 or more"))
    })
}

fn file_index(argument: impl FnOnce() -> String, value: i32) -> Result<usize> {
    usize::try_from(value).map_err(|_| {
        EngineError::bad_argument(argument(), format!("is {value}, expected 0 or more"))
    })
}

/// Reads the request for a new buffer.
///
/// # Errors
/// [`EngineError::BadArgument`] for a negative size.
pub fn new_buffer<'a>(prefix: &str, new: &'a NewBuffer) -> Result<request::NewBuffer<'a>> {
    Ok(request::NewBuffer {
        heap: &new.heap,
        size_bytes: not_negative(|| format!("{prefix}sizeBytes"), new.sizeBytes)?,
        name: &new.name,
    })
}

/// Reads a load request; its fds stay borrowed from it.
///
/// # Errors
/// [`EngineError::BadArgument`] or [`EngineError::BadFd`], naming the field.
pub fn load_request(load: &LoadRequest, client: ClientId) -> Result<request::LoadRequest<'_>> {
    let target = match &load.target {
        BufferTarget::NewBuffer(new) => Target::New(new_buffer("target.newBuffer.", new)?),
        BufferTarget::Existing(fd) => Target::Existing(some_fd("target.existing", fd.as_ref())?),
    };
    let files: request::Files<'_> = load.files.iter().map(borrow).collect();
    let segments = segments(&load.segments, load.files.len())?;
    let mut request = request::LoadRequest::new(client, target, files, segments);
    request.policy = policy(load.policy, load.namedPath)?;
    if let Some(digests) = &load.digests {
        request.expected_sha256 = digests.expectedSha256.as_deref().map(sha256).transpose()?;
        request.report_sha256 = digests.reportSha256;
        request.expected_verity = verity_digests(&digests.expectedVerity)?;
        request.report_verity = digests.reportVerity;
    }
    Ok(request)
}

/// Reads a save request; its fds stay borrowed from it.
///
/// # Errors
/// [`EngineError::BadArgument`] or [`EngineError::BadFd`], naming the field.
pub fn save_request(save: &SaveRequest) -> Result<request::SaveRequest<'_>> {
    Ok(request::SaveRequest {
        buffer: some_fd("buffer", save.buffer.as_ref())?,
        files: save.files.iter().map(borrow).collect(),
        segments: segments(&save.segments, save.files.len())?,
        policy: policy(save.policy, save.namedPath)?,
    })
}

fn borrow(fd: &ParcelFileDescriptor) -> BorrowedFd<'_> {
    let fd: &OwnedFd = fd.as_ref();
    fd.as_fd()
}

fn some_fd<'a>(argument: &str, fd: Option<&'a ParcelFileDescriptor>) -> Result<BorrowedFd<'a>> {
    fd.map(borrow).ok_or_else(|| EngineError::bad_fd(argument, "is missing"))
}

fn segments(wire: &[Segment], file_count: usize) -> Result<Segments> {
    match (wire, file_count) {
        ([], 1) => return Ok([request::Segment::WHOLE_FILE].into()),
        ([], 2..) => {
            let problem = format!("is empty, which needs one file, but files has {file_count}");
            return Err(EngineError::bad_argument("segments", problem));
        }
        _ => {}
    }
    wire.iter().enumerate().map(|(index, segment)| read_segment(index, segment)).collect()
}

fn read_segment(index: usize, segment: &Segment) -> Result<request::Segment> {
    let argument = |field| request::segment_argument(index, field);
    let length = match segment.lengthBytes {
        TO_END => Length::ToEnd,
        bytes => Length::Bytes(u64::try_from(bytes).map_err(|_| {
            EngineError::bad_argument(
                argument("lengthBytes"),
                format!("is {bytes}, expected 0 or more, or TO_END"),
            )
        })?),
    };
    Ok(request::Segment {
        file_index: file_index(|| argument("fileIndex"), segment.fileIndex)?,
        file_offset_bytes: not_negative(|| argument("fileOffsetBytes"), segment.fileOffsetBytes)?,
        length,
        buffer_offset_bytes: not_negative(
            || argument("bufferOffsetBytes"),
            segment.bufferOffsetBytes,
        )?,
    })
}

fn policy(policy: PathPolicy, named: LoadPath) -> Result<Policy> {
    match (policy, named) {
        (PathPolicy::AUTO, _) => Ok(Policy::Auto),
        (PathPolicy::REQUIRE_DIRECT, _) => Ok(Policy::RequireDirect),
        (PathPolicy::NAMED, LoadPath::COPY_FILE_RANGE) => Ok(Policy::Named(Path::CopyFileRange)),
        (PathPolicy::NAMED, LoadPath::BUFFERED) => Ok(Policy::Named(Path::Buffered)),
        (PathPolicy::NAMED, LoadPath::UDMABUF_DIRECT) => Ok(Policy::Named(Path::UdmabufDirect)),
        (PathPolicy::NAMED, LoadPath::BOUNCE) => Ok(Policy::Named(Path::Bounce)),
        (PathPolicy::NAMED, LoadPath(other)) => {
            Err(EngineError::bad_argument("namedPath", format!("{other} is no LoadPath")))
        }
        (PathPolicy(other), _) => {
            Err(EngineError::bad_argument("policy", format!("{other} is no PathPolicy")))
        }
    }
}

fn sha256(bytes: &[u8]) -> Result<Sha256> {
    bytes.try_into().map(Sha256).map_err(|_| {
        EngineError::bad_argument(
            "digests.expectedSha256",
            format!("has {} bytes, expected 32", bytes.len()),
        )
    })
}

fn verity_digests(wire: &[VerityDigest]) -> Result<Vec<FileDigest>> {
    wire.iter().enumerate().map(|(index, digest)| read_verity_digest(index, digest)).collect()
}

fn read_verity_digest(index: usize, wire: &VerityDigest) -> Result<FileDigest> {
    let argument = |field| format!("{}.{field}", fs_verity::expected_argument(index));
    let algorithm = match wire.algorithm {
        VerityAlgorithm::SHA256 => Algorithm::Sha256,
        VerityAlgorithm::SHA512 => Algorithm::Sha512,
        VerityAlgorithm(other) => {
            let problem = format!("{other} is no VerityAlgorithm");
            return Err(EngineError::bad_argument(argument("algorithm"), problem));
        }
    };
    let digest = fs_verity::Digest::new(algorithm, &wire.digest).ok_or_else(|| {
        EngineError::bad_argument(
            argument("digest"),
            format!("has {} bytes, expected {}", wire.digest.len(), algorithm.digest_bytes()),
        )
    })?;
    Ok(FileDigest { file_index: file_index(|| argument("fileIndex"), wire.fileIndex)?, digest })
}

fn wire_verity_digest(found: FileDigest) -> VerityDigest {
    VerityDigest {
        // Of a file of the request, which has few.
        fileIndex: i32::try_from(found.file_index).unwrap_or(i32::MAX),
        algorithm: match found.digest.algorithm() {
            Algorithm::Sha256 => VerityAlgorithm::SHA256,
            Algorithm::Sha512 => VerityAlgorithm::SHA512,
        },
        digest: found.digest.bytes().to_vec(),
    }
}

fn wire_path(path: Path) -> LoadPath {
    match path {
        Path::CopyFileRange => LoadPath::COPY_FILE_RANGE,
        Path::UdmabufDirect => LoadPath::UDMABUF_DIRECT,
        Path::Bounce => LoadPath::BOUNCE,
        Path::Buffered => LoadPath::BUFFERED,
    }
}

/// `None` for what is not worth a word: buffers of such a heap never allow the path.
fn wire_reason(reason: Reason) -> Option<NotTakenReason> {
    Some(match reason {
        Reason::KernelUnsupported => NotTakenReason::KERNEL_UNSUPPORTED,
        Reason::FileNotDirect => NotTakenReason::FILE_LACKS_DIRECT_IO,
        Reason::FileOpenedBuffered => NotTakenReason::FILE_OPENED_BUFFERED,
        Reason::FileOpenedDirect => NotTakenReason::FILE_OPENED_DIRECT,
        Reason::ReopeningCostsMore => NotTakenReason::REOPENING_COSTS_MORE,
        Reason::Unaligned => NotTakenReason::UNALIGNED,
        Reason::BufferBusy => NotTakenReason::BUFFER_BUSY,
        Reason::ExcludedByPolicy => NotTakenReason::EXCLUDED_BY_POLICY,
        Reason::RefusedByKernel => NotTakenReason::REFUSED_BY_KERNEL,
        Reason::HeapUnsuitable => return None,
    })
}

/// A size for the wire: the engine has made sure that it fits.
fn wire_size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn wire_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A heap for the wire.
pub fn heap_info(heap: &Heap) -> HeapInfo {
    HeapInfo {
        name: heap.name.to_string(),
        kind: match heap.kind {
            EngineHeapKind::DmaHeap => HeapKind::DMABUF,
            EngineHeapKind::Udmabuf => HeapKind::UDMABUF,
            EngineHeapKind::Memfd => HeapKind::MEMFD,
        },
        deviceShareable: heap.device_shareable(),
        maxBufferBytes: wire_size(heap.max_buffer_bytes),
    }
}

/// What was found of a path, for the wire.
pub fn path_support(entry: &HeapPath) -> PathSupport {
    PathSupport {
        heap: entry.heap.clone(),
        path: wire_path(entry.path),
        supported: entry.support.supported,
        detail: entry.support.detail.to_string(),
    }
}

/// Hands a buffer over to the wire.
pub fn dma_buf(buffer: Buffer) -> DmaBuf {
    DmaBuf {
        sizeBytes: wire_size(buffer.size_bytes),
        heap: buffer.heap,
        deviceShareable: buffer.device_shareable,
        fd: Some(ParcelFileDescriptor::new(buffer.fd)),
    }
}

/// The outcome of a load for the wire; hands the buffer over.
pub fn load_result(outcome: LoadOutcome) -> LoadResult {
    LoadResult {
        buffer: outcome.buffer.map(dma_buf),
        segmentBytes: outcome.segment_bytes.into_iter().map(wire_size).collect(),
        report: transfer_report(&outcome.report),
        digests: digests(outcome.sha256, outcome.verity),
    }
}

fn digests(sha256: Option<Sha256>, verity: Vec<FileDigest>) -> Option<Digests> {
    let some = sha256.is_some() || !verity.is_empty();
    some.then(|| Digests {
        sha256: sha256.map(|digest| digest.0.to_vec()),
        verity: verity.into_iter().map(wire_verity_digest).collect(),
    })
}

/// The outcome of a save for the wire.
pub fn save_result(outcome: SaveOutcome) -> SaveResult {
    SaveResult {
        segmentBytes: outcome.segment_bytes.into_iter().map(wire_size).collect(),
        report: transfer_report(&outcome.report),
    }
}

fn transfer_report(report: &Report) -> TransferReport {
    let way = report.way();
    TransferReport {
        path: way.map_or(LoadPath::BUFFERED, |way| wire_path(way.path)),
        direct: way.is_some_and(|way| way.direct),
        notTaken: report.not_taken.iter().filter_map(path_not_taken).collect(),
        directBytes: wire_size(report.direct_bytes()),
        bufferedBytes: wire_size(report.buffered_bytes()),
        allocateNanos: wire_nanos(report.allocate),
        moveNanos: wire_nanos(report.transfer),
        verifyNanos: wire_nanos(report.verify),
        handOverNanos: wire_nanos(report.hand_over),
    }
}

fn path_not_taken(not_taken: &NotTaken) -> Option<PathNotTaken> {
    let Refusal { reason, detail } = &not_taken.refusal;
    // What every request to this heap would be told, the capabilities tell once.
    let is_known = matches!(reason, Reason::KernelUnsupported | Reason::ReopeningCostsMore);
    Some(PathNotTaken {
        path: wire_path(not_taken.way.path),
        direct: not_taken.way.direct,
        reason: wire_reason(*reason)?,
        detail: if is_known { String::new() } else { detail.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_are_refused_by_name() {
        for (segment, field) in [
            (Segment { fileOffsetBytes: -1, ..Default::default() }, "fileOffsetBytes"),
            (Segment { bufferOffsetBytes: i64::MIN, ..Default::default() }, "bufferOffsetBytes"),
            (Segment { lengthBytes: -2, ..Default::default() }, "lengthBytes"),
            (Segment { fileIndex: -1, ..Default::default() }, "fileIndex"),
        ] {
            let error = segments(&[segment], 1).unwrap_err().to_string();
            assert!(error.starts_with(&format!("segments[0].{field}: ")), "{error}");
        }
    }

    #[test]
    fn a_segment_is_to_the_end_unless_it_says_otherwise() {
        let read =
            segments(&[Segment::default(), Segment { lengthBytes: 7, ..Default::default() }], 1);
        let lengths: Vec<Length> = read.unwrap().iter().map(|segment| segment.length).collect();
        assert_eq!(lengths, [Length::ToEnd, Length::Bytes(7)]);
    }

    #[test]
    fn no_segment_stands_for_the_whole_of_one_file() {
        let read = |wire: &[Segment], files| segments(wire, files);
        assert_eq!(read(&[], 1).unwrap(), read(&[Segment::default()], 1).unwrap());
        let error = read(&[], 2).unwrap_err().to_string();
        assert_eq!(error, "segments: is empty, which needs one file, but files has 2");
        // That there is no file is what is wrong then.
        assert_eq!(read(&[], 0).unwrap().len(), 0);
    }

    #[test]
    fn unknown_enumerators_are_refused_by_name() {
        let error = policy(PathPolicy(9), LoadPath::BUFFERED).unwrap_err().to_string();
        assert_eq!(error, "policy: 9 is no PathPolicy");
        let error = policy(PathPolicy::NAMED, LoadPath(-1)).unwrap_err().to_string();
        assert_eq!(error, "namedPath: -1 is no LoadPath");
    }

    #[test]
    fn a_digest_has_32_bytes() {
        assert!(sha256(&[0; 32]).is_ok());
        let error = sha256(&[0; 31]).unwrap_err().to_string();
        assert_eq!(error, "digests.expectedSha256: has 31 bytes, expected 32");
    }

    #[test]
    fn a_verity_digest_is_read_and_written_alike() {
        for (algorithm, len) in [(VerityAlgorithm::SHA256, 32), (VerityAlgorithm::SHA512, 64)] {
            let wire = VerityDigest { fileIndex: 3, algorithm, digest: vec![0xa5; len] };
            let again = wire_verity_digest(read_verity_digest(0, &wire).unwrap());
            assert_eq!((again.fileIndex, again.algorithm), (3, algorithm));
            assert_eq!(again.digest, wire.digest);
        }
    }

    #[test]
    fn a_verity_digest_that_makes_no_sense_is_refused_by_name() {
        let digest = || VerityDigest { digest: vec![0; 32], ..Default::default() };
        let problem = |second| verity_digests(&[digest(), second]).unwrap_err().to_string();
        assert_eq!(
            problem(VerityDigest { fileIndex: -1, ..digest() }),
            "digests.expectedVerity[1].fileIndex: is -1, expected 0 or more"
        );
        assert_eq!(
            problem(VerityDigest { algorithm: VerityAlgorithm(3), ..digest() }),
            "digests.expectedVerity[1].algorithm: 3 is no VerityAlgorithm"
        );
        assert_eq!(
            problem(VerityDigest { algorithm: VerityAlgorithm::SHA512, ..digest() }),
            "digests.expectedVerity[1].digest: has 32 bytes, expected 64"
        );
        assert_eq!(
            problem(VerityDigest::default()),
            "digests.expectedVerity[1].digest: has 0 bytes, expected 32"
        );
    }

    #[test]
    fn a_target_without_an_fd_is_refused() {
        let load = LoadRequest { target: BufferTarget::Existing(None), ..Default::default() };
        let error = load_request(&load, ClientId(0)).unwrap_err();
        assert!(matches!(error, EngineError::BadFd { .. }), "{error}");
    }
}
