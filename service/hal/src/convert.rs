// SPDX-License-Identifier: Apache-2.0
//! Conversion between AIDL types and engine types; checks the values that AIDL can carry and the
//! engine's types cannot express.

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use binder::ParcelFileDescriptor;
use dmabuf_engine::request::{self, FileDigest, Length, PathList, Policy, Sha256, Target};
use dmabuf_engine::{
    Algorithm, Buffer, ClientId, Context, Digest, Errno, Heap, HeapFacts,
    HeapKind as EngineHeapKind, HeapPath, LoadOutcome, NotTaken, PathName, Priority, Reason,
    Report, SaveOutcome,
};
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    BufferTarget::BufferTarget,
    Digests::Digests,
    DmaBuf::DmaBuf,
    HeapFact::HeapFact,
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
    RequestPriority::RequestPriority,
    SaveRequest::SaveRequest,
    SaveResult::SaveResult,
    Segment::{Segment, TO_END},
    TransferReport::TransferReport,
    VerityAlgorithm::VerityAlgorithm,
    VerityDigest::VerityDigest,
};

use crate::error::{segment_field, verity_field, Method, Result, ServiceError};

/// Reads a size, an offset or an index that must not be negative.
fn not_negative<W, T>(field: impl FnOnce() -> String, value: W) -> Result<T>
where
    W: Copy + Display,
    T: TryFrom<W>,
{
    T::try_from(value)
        .map_err(|_| ServiceError::bad_field(field(), format!("is {value}, expected 0 or more")))
}

/// Converts the request for a new buffer, which is part of the request of `method`.
///
/// # Errors
/// [`ServiceError::BadField`] for a negative size.
pub fn new_buffer(method: Method, new: &NewBuffer) -> Result<request::NewBuffer> {
    let size_field = || format!("{}sizeBytes", method.new_buffer_prefix());
    Ok(request::NewBuffer {
        heap: new.heap.clone(),
        size_bytes: not_negative(size_field, new.sizeBytes)?,
        name: new.name.clone(),
    })
}

/// Converts a load request; duplicates its fds.
///
/// # Errors
/// [`ServiceError::BadField`] or [`ServiceError::BadFd`], naming the field.
pub fn load_request(load: &LoadRequest) -> Result<request::LoadRequest> {
    let target = match &load.target {
        BufferTarget::NewBuffer(new) => Target::New(new_buffer(Method::Load, new)?),
        BufferTarget::Existing(fd) => Target::Existing(some_fd("target.existing", fd.as_ref())?),
    };
    let segments = segments(&load.segments, load.files.len())?;
    let mut request = request::LoadRequest::new(target, files(&load.files)?, segments);
    request.policy = policy(load.policy, &load.paths)?;
    if let Some(digests) = &load.digests {
        request.digests = request::DigestRequest {
            expected_sha256: digests.expectedSha256.as_deref().map(sha256).transpose()?,
            report_sha256: digests.reportSha256,
            expected_verity: verity_digests(&digests.expectedVerity)?,
            report_verity: digests.reportVerity,
        };
    }
    Ok(request)
}

/// Makes the context of a request that has arrived now.
///
/// # Errors
/// [`ServiceError::BadField`] for a negative timeout or an unknown priority.
pub fn context(
    client: ClientId,
    priority: RequestPriority,
    timeout_millis: i64,
) -> Result<Context> {
    let priority = match priority {
        RequestPriority::BULK => Priority::Bulk,
        RequestPriority::NORMAL => Priority::Normal,
        RequestPriority::LATENCY_CRITICAL => Priority::LatencyCritical,
        RequestPriority(other) => {
            let problem = format!("{other} is not a RequestPriority");
            return Err(ServiceError::bad_field("priority", problem));
        }
    };
    let millis: u64 = not_negative(|| "timeoutMillis".to_owned(), timeout_millis)?;
    // What ends after the clock does has no deadline.
    let after = |timeout| Instant::now().checked_add(timeout);
    let deadline = (millis > 0).then(|| after(Duration::from_millis(millis))).flatten();
    Ok(Context { priority, deadline, ..Context::new(client) })
}

/// Converts a save request; duplicates its fds.
///
/// # Errors
/// [`ServiceError::BadField`] or [`ServiceError::BadFd`], naming the field.
pub fn save_request(save: &SaveRequest) -> Result<request::SaveRequest> {
    Ok(request::SaveRequest {
        buffer: some_fd("buffer", save.buffer.as_ref())?,
        files: files(&save.files)?,
        segments: segments(&save.segments, save.files.len())?,
        policy: policy(save.policy, &save.paths)?,
    })
}

/// Duplicates an fd, because the request that arrived keeps its own.
fn duplicate(field: impl FnOnce() -> String, fd: &ParcelFileDescriptor) -> Result<OwnedFd> {
    let fd: &OwnedFd = fd.as_ref();
    fd.try_clone().map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::MFILE);
        ServiceError::NoCopy { field: field(), errno }
    })
}

fn files(wire: &[ParcelFileDescriptor]) -> Result<Vec<OwnedFd>> {
    // The engine checks this, too, but only after the service has duplicated every fd.
    if wire.len() > request::MAX_FILES {
        let (len, limit) = (wire.len(), request::MAX_FILES);
        let problem = format!("has {len} elements, expected 1 to {limit}");
        return Err(ServiceError::bad_field("files", problem));
    }
    wire.iter().enumerate().map(|(index, fd)| duplicate(|| format!("files[{index}]"), fd)).collect()
}

fn some_fd(field: &str, fd: Option<&ParcelFileDescriptor>) -> Result<OwnedFd> {
    let fd = fd.ok_or_else(|| ServiceError::bad_fd(field, "is missing"))?;
    duplicate(|| field.to_owned(), fd)
}

fn segments(wire: &[Segment], file_count: usize) -> Result<Vec<request::Segment>> {
    match (wire, file_count) {
        ([], 1) => return Ok(vec![request::Segment::WHOLE_FILE]),
        ([], 2..) => {
            let problem = format!("is empty, which needs one file, but files has {file_count}");
            return Err(ServiceError::bad_field("segments", problem));
        }
        _ => {}
    }
    wire.iter().enumerate().map(|(index, segment)| read_segment(index, segment)).collect()
}

fn read_segment(index: usize, segment: &Segment) -> Result<request::Segment> {
    let field = |field| segment_field(index, field);
    let length = match segment.lengthBytes {
        TO_END => Length::ToEnd,
        bytes => Length::Bytes(u64::try_from(bytes).map_err(|_| {
            ServiceError::bad_field(
                field("lengthBytes"),
                format!("is {bytes}, expected 0 or more, or TO_END"),
            )
        })?),
    };
    Ok(request::Segment {
        file_index: not_negative(|| field("fileIndex"), segment.fileIndex)?,
        file_offset_bytes: not_negative(|| field("fileOffsetBytes"), segment.fileOffsetBytes)?,
        length,
        buffer_offset_bytes: not_negative(
            || field("bufferOffsetBytes"),
            segment.bufferOffsetBytes,
        )?,
    })
}

fn policy(policy: PathPolicy, paths: &[LoadPath]) -> Result<Policy> {
    let require_direct = match policy {
        PathPolicy::AUTO => false,
        PathPolicy::REQUIRE_DIRECT => true,
        PathPolicy(other) => {
            let problem = format!("{other} is not a PathPolicy");
            return Err(ServiceError::bad_field("policy", problem));
        }
    };
    // Most requests permit all.
    if paths.is_empty() {
        return Ok(Policy { require_direct, ..Policy::AUTO });
    }
    let names: Vec<PathName> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| path_name(index, *path))
        .collect::<Result<_>>()?;
    let paths = PathList::of(&names)
        .ok_or_else(|| ServiceError::bad_field("paths", "has a path twice, expected it once"))?;
    Ok(Policy { require_direct, paths })
}

fn path_name(index: usize, path: LoadPath) -> Result<PathName> {
    match path {
        LoadPath::COPY_FILE_RANGE => Ok(PathName::CopyFileRange),
        LoadPath::UDMABUF_DIRECT => Ok(PathName::UdmabufDirect),
        LoadPath::BOUNCE => Ok(PathName::Bounce),
        LoadPath::BUFFERED => Ok(PathName::Buffered),
        LoadPath(other) => {
            let problem = format!("{other} is not a LoadPath");
            Err(ServiceError::bad_field(format!("paths[{index}]"), problem))
        }
    }
}

fn sha256(bytes: &[u8]) -> Result<Sha256> {
    bytes.try_into().map(Sha256).map_err(|_| {
        ServiceError::bad_field(
            "digests.expectedSha256",
            format!("has {} bytes, expected 32", bytes.len()),
        )
    })
}

fn verity_digests(wire: &[VerityDigest]) -> Result<Vec<FileDigest>> {
    wire.iter().enumerate().map(|(index, digest)| read_verity_digest(index, digest)).collect()
}

fn read_verity_digest(index: usize, wire: &VerityDigest) -> Result<FileDigest> {
    let field = |field| verity_field(index, field);
    let algorithm = match wire.algorithm {
        VerityAlgorithm::SHA256 => Algorithm::Sha256,
        VerityAlgorithm::SHA512 => Algorithm::Sha512,
        VerityAlgorithm(other) => {
            let problem = format!("{other} is not a VerityAlgorithm");
            return Err(ServiceError::bad_field(field("algorithm"), problem));
        }
    };
    let digest = Digest::new(algorithm, &wire.digest).ok_or_else(|| {
        ServiceError::bad_field(
            field("digest"),
            format!("has {} bytes, expected {}", wire.digest.len(), algorithm.digest_bytes()),
        )
    })?;
    Ok(FileDigest { file_index: not_negative(|| field("fileIndex"), wire.fileIndex)?, digest })
}

fn wire_verity_digest(found: FileDigest) -> VerityDigest {
    VerityDigest {
        // The index fits: it refers to a file of the request, which has at most MAX_FILES.
        fileIndex: i32::try_from(found.file_index).unwrap_or(i32::MAX),
        algorithm: match found.digest.algorithm() {
            Algorithm::Sha256 => VerityAlgorithm::SHA256,
            Algorithm::Sha512 => VerityAlgorithm::SHA512,
        },
        digest: found.digest.bytes().to_vec(),
    }
}

fn wire_path(path: PathName) -> LoadPath {
    match path {
        PathName::CopyFileRange => LoadPath::COPY_FILE_RANGE,
        PathName::UdmabufDirect => LoadPath::UDMABUF_DIRECT,
        PathName::Bounce => LoadPath::BOUNCE,
        PathName::Buffered => LoadPath::BUFFERED,
    }
}

/// `None` if buffers of the heap never support the path: reports leave such paths out.
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

/// Converts a size; the engine has checked that it fits in an i64.
fn wire_size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn wire_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn wire_fact(fact: Option<bool>) -> HeapFact {
    match fact {
        None => HeapFact::UNKNOWN,
        Some(false) => HeapFact::NO,
        Some(true) => HeapFact::YES,
    }
}

/// Converts a heap to AIDL.
pub fn heap_info(heap: &Heap) -> HeapInfo {
    let HeapFacts { cached, contiguous, protected } = heap.facts;
    HeapInfo {
        name: heap.name.to_string(),
        kind: match heap.kind {
            EngineHeapKind::DmaHeap => HeapKind::DMABUF,
            EngineHeapKind::Udmabuf => HeapKind::UDMABUF,
            EngineHeapKind::Memfd => HeapKind::MEMFD,
        },
        deviceShareable: heap.kind.device_shareable(),
        maxBufferBytes: wire_size(heap.max_buffer_bytes),
        servesAnyHeap: heap.serves_any,
        cpuCached: wire_fact(cached),
        contiguous: wire_fact(contiguous),
        cpuProtected: wire_fact(protected),
        hugePages: wire_fact(heap.has_huge_pages()),
    }
}

/// Converts the support of a path to AIDL.
pub fn path_support(entry: &HeapPath) -> PathSupport {
    PathSupport {
        heap: entry.heap.clone(),
        path: wire_path(entry.path),
        supported: entry.support.supported,
        detail: entry.support.detail.to_string(),
    }
}

/// Converts a buffer to AIDL, which takes over its fd.
pub fn dma_buf(buffer: Buffer) -> DmaBuf {
    DmaBuf {
        sizeBytes: wire_size(buffer.size_bytes),
        heap: buffer.heap,
        deviceShareable: buffer.device_shareable,
        fd: Some(ParcelFileDescriptor::new(buffer.fd)),
    }
}

/// Converts the outcome of a load to AIDL, which takes over the fd of the buffer.
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

/// Converts the outcome of a save to AIDL.
pub fn save_result(outcome: SaveOutcome) -> SaveResult {
    SaveResult {
        segmentBytes: outcome.segment_bytes.into_iter().map(wire_size).collect(),
        report: transfer_report(&outcome.report),
    }
}

fn transfer_report(report: &Report) -> TransferReport {
    let path = report.path();
    TransferReport {
        path: path.map_or(LoadPath::BUFFERED, |path| wire_path(path.name())),
        direct: path.is_some_and(|path| path.is_direct()),
        notTaken: report.not_taken.iter().filter_map(path_not_taken).collect(),
        directBytes: wire_size(report.direct_bytes()),
        bufferedBytes: wire_size(report.buffered_bytes()),
        allocateNanos: wire_nanos(report.allocate),
        moveNanos: wire_nanos(report.transfer),
        verifyNanos: wire_nanos(report.verify),
        exportNanos: wire_nanos(report.export),
    }
}

fn path_not_taken(not_taken: &NotTaken) -> Option<PathNotTaken> {
    let reason = not_taken.refusal.reason();
    // getCapabilities() states this reason once for all requests to the heap.
    let is_known = matches!(reason, Reason::KernelUnsupported | Reason::ReopeningCostsMore);
    Some(PathNotTaken {
        path: wire_path(not_taken.path.name()),
        direct: not_taken.path.is_direct(),
        reason: wire_reason(reason)?,
        detail: if is_known { String::new() } else { not_taken.refusal.to_string() },
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
    fn a_request_has_its_priority_and_deadline() {
        let of = |priority, millis| context(ClientId(7), priority, millis);
        let plain = of(RequestPriority::NORMAL, 0).unwrap();
        assert_eq!((plain.client, plain.deadline), (ClientId(7), None));
        let urgent = of(RequestPriority::LATENCY_CRITICAL, 60_000).unwrap();
        assert_eq!(urgent.priority, Priority::LatencyCritical);
        assert!(urgent.deadline.is_some_and(|deadline| deadline > Instant::now()));
        assert!(of(RequestPriority::BULK, i64::MAX).is_ok());
        let error = of(RequestPriority::BULK, -1).unwrap_err().to_string();
        assert_eq!(error, "timeoutMillis: is -1, expected 0 or more");
        let error = of(RequestPriority(3), 0).unwrap_err().to_string();
        assert_eq!(error, "priority: 3 is not a RequestPriority");
    }

    #[test]
    fn a_segment_extends_to_the_end_by_default() {
        let read =
            segments(&[Segment::default(), Segment { lengthBytes: 7, ..Default::default() }], 1);
        let lengths: Vec<Length> = read.unwrap().iter().map(|segment| segment.length).collect();
        assert_eq!(lengths, [Length::ToEnd, Length::Bytes(7)]);
    }

    #[test]
    fn no_segment_means_one_whole_file() {
        let read = |wire: &[Segment], files| segments(wire, files);
        assert_eq!(read(&[], 1).unwrap(), read(&[Segment::default()], 1).unwrap());
        let error = read(&[], 2).unwrap_err().to_string();
        assert_eq!(error, "segments: is empty, which needs one file, but files has 2");
        // With no file at all, the engine refuses the files, not the segments.
        assert_eq!(read(&[], 0).unwrap().len(), 0);
    }

    #[test]
    fn unknown_enumerators_are_refused_by_name() {
        let error = policy(PathPolicy(9), &[]).unwrap_err().to_string();
        assert_eq!(error, "policy: 9 is not a PathPolicy");
        let paths = [LoadPath::BOUNCE, LoadPath(-1)];
        let error = policy(PathPolicy::AUTO, &paths).unwrap_err().to_string();
        assert_eq!(error, "paths[1]: -1 is not a LoadPath");
    }

    #[test]
    fn the_permitted_paths_keep_their_order() {
        let paths = [LoadPath::BUFFERED, LoadPath::COPY_FILE_RANGE];
        let read = policy(PathPolicy::REQUIRE_DIRECT, &paths).unwrap();
        let names = [PathName::Buffered, PathName::CopyFileRange];
        assert_eq!(read, Policy { require_direct: true, paths: PathList::of(&names).unwrap() });
        assert_eq!(policy(PathPolicy::AUTO, &[]).unwrap(), Policy::AUTO);
        let twice = [LoadPath::BOUNCE, LoadPath::BOUNCE];
        let error = policy(PathPolicy::AUTO, &twice).unwrap_err().to_string();
        assert_eq!(error, "paths: has a path twice, expected it once");
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
    fn an_invalid_verity_digest_is_refused_by_name() {
        let digest = || VerityDigest { digest: vec![0; 32], ..Default::default() };
        let problem = |second| verity_digests(&[digest(), second]).unwrap_err().to_string();
        assert_eq!(
            problem(VerityDigest { fileIndex: -1, ..digest() }),
            "digests.expectedVerity[1].fileIndex: is -1, expected 0 or more"
        );
        assert_eq!(
            problem(VerityDigest { algorithm: VerityAlgorithm(3), ..digest() }),
            "digests.expectedVerity[1].algorithm: 3 is not a VerityAlgorithm"
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
        let error = load_request(&load).unwrap_err();
        assert!(matches!(error, ServiceError::BadFd { .. }), "{error}");
    }
}
