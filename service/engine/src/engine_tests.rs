// SPDX-License-Identifier: Apache-2.0
//! The engine on this machine: whatever heaps it has, and memfd.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::OFlags;
use tempfile::TempDir;

use super::*;
use crate::buffer::{BufferKind, BufferView};
use crate::context::{CancelToken, ClientId, Progress, ProgressSink};
use crate::error::{Argument, EngineError};
use crate::io_path::PathName;
use crate::request::{DigestRequest, Length, Policy, Segment, Target};

fn context() -> Context {
    Context::new(ClientId(1000))
}

fn config() -> EngineConfig {
    let config = EngineConfig::new(true, PoolConfig::OFF);
    EngineConfig { max_buffer_bytes: 512 << 20, ..config }
}

fn engine() -> Engine {
    Engine::new(config())
}

/// A directory on a file system with direct I/O where the build directory is on one; the usual
/// directory for temporary files may be in memory.
fn directory_on_disk() -> TempDir {
    let program = std::env::current_exe().unwrap();
    tempfile::tempdir_in(program.parent().unwrap_or(Path::new("."))).unwrap()
}

fn dup(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

/// Bytes that differ from block to block and from byte to byte.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index ^ (index >> 8) ^ (index >> 16).wrapping_mul(37)) as u8).collect()
}

fn file_with(directory: &TempDir, bytes: &[u8]) -> File {
    let path = directory.path().join("source");
    std::fs::write(&path, bytes).unwrap();
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn memfd_target(size_bytes: u64) -> Target {
    Target::New(sized_memfd(size_bytes))
}

/// A load that reports the digest.
fn request(target: Target, file: impl AsFd, segments: &[Segment]) -> LoadRequest {
    let digests = DigestRequest { report_sha256: true, ..DigestRequest::default() };
    LoadRequest { digests, ..LoadRequest::new(target, vec![dup(file)], segments.to_vec()) }
}

fn load(engine: &Engine, request: LoadRequest) -> Result<LoadOutcome> {
    engine.load(request, &context())
}

fn segment(file_offset_bytes: u64, length: Length, buffer_offset_bytes: u64) -> Segment {
    Segment { file_index: 0, file_offset_bytes, length, buffer_offset_bytes }
}

const WHOLE: Segment =
    Segment { file_index: 0, file_offset_bytes: 0, length: Length::ToEnd, buffer_offset_bytes: 0 };

fn contents(buffer: &Buffer) -> Vec<u8> {
    let mut bytes = vec![0; buffer.size_bytes as usize];
    File::from(buffer.fd.try_clone().unwrap()).read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn files_of_every_size_arrive_whole_with_a_zero_tail() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    for len in [1, 4095, 4096, 4097, (1 << 20) + 1] {
        let bytes = pattern(len);
        let file = file_with(&directory, &bytes);
        let outcome = load(&engine, request(memfd_target(0), &file, &[WHOLE])).unwrap();
        assert_eq!(outcome.segment_bytes, [len as u64]);
        let loaded = contents(outcome.buffer.as_ref().unwrap());
        assert_eq!(loaded[..len], bytes);
        assert!(loaded[len..].iter().all(|byte| *byte == 0));
        assert_eq!(outcome.sha256.unwrap().0, ring_sha256(&bytes));
    }
}

/// The file costs its owner nothing.
#[test]
fn a_hole_larger_than_the_memory_is_refused_at_once() {
    let machine_bytes = dmabuf_uapi::memory::total_bytes();
    let engine = Engine::new(EngineConfig { max_buffer_bytes: u64::MAX, ..config() });
    let file = tempfile::tempfile().unwrap();
    file.set_len(machine_bytes).unwrap();
    let asked = Segment { length: Length::Bytes(machine_bytes), ..WHOLE };
    let refused = load(&engine, request(memfd_target(0), &file, &[asked])).unwrap_err();
    let EngineError::MemoryShort { size_bytes, available_bytes, reserve_bytes, .. } = refused
    else {
        panic!("{refused}");
    };
    assert!(size_bytes >= machine_bytes && available_bytes < machine_bytes, "{refused}");
    assert!(reserve_bytes >= 64 << 20, "{refused}");
    let new = sized_memfd(machine_bytes);
    let refused = engine.allocate(&new, &context()).unwrap_err();
    assert!(matches!(refused, EngineError::MemoryShort { .. }), "{refused}");
}

fn ring_sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

#[test]
fn segments_scatter_and_gaps_stay_zero() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = pattern(20_000);
    let file = file_with(&directory, &bytes);
    let segments = [
        segment(100, Length::Bytes(5000), 9000),
        segment(0, Length::Bytes(1), 0),
        segment(19_999, Length::ToEnd, 8191),
    ];
    let outcome = load(&engine(), request(memfd_target(0), &file, &segments)).unwrap();
    let loaded = contents(outcome.buffer.as_ref().unwrap());
    assert_eq!(outcome.segment_bytes, [5000, 1, 1]);
    assert_eq!(loaded[9000..14_000], bytes[100..5100]);
    assert_eq!((loaded[0], loaded[8191]), (bytes[0], bytes[19_999]));
    assert!(loaded[1..8191].iter().chain(&loaded[8192..9000]).all(|byte| *byte == 0));
}

#[test]
fn a_range_past_the_end_is_loaded_as_far_as_it_goes() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, &pattern(5000));
    let segments = [segment(4000, Length::Bytes(3000), 0), segment(6000, Length::Bytes(10), 4096)];
    let outcome = load(&engine(), request(memfd_target(0), &file, &segments)).unwrap();
    assert_eq!(outcome.segment_bytes, [1000, 0]);
    assert_eq!(outcome.buffer.unwrap().size_bytes, 8192);
}

#[test]
fn a_file_opened_with_o_direct_loads_at_any_offset() {
    let directory = directory_on_disk();
    let bytes = pattern(3 << 20);
    drop(file_with(&directory, &bytes));
    let direct = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32)
        .open(directory.path().join("source"));
    // Some file systems refuse O_DIRECT on open; the engine never gets to see such an fd.
    let Ok(direct) = direct else { return };
    for (offset, len) in [(0, 3 << 20), (1, 10), (4095, 2 << 20), (513, (2 << 20) + 7)] {
        let segments = [segment(offset, Length::Bytes(len), 3)];
        let outcome = load(&engine(), request(memfd_target(0), &direct, &segments)).unwrap();
        let loaded = contents(outcome.buffer.as_ref().unwrap());
        let (offset, len) = (offset as usize, len as usize);
        assert_eq!(loaded[3..3 + len], bytes[offset..offset + len], "{offset} {len}");
    }
}

/// Small ranges close together, read as one, and the last of them past the end of the file.
#[test]
fn small_ranges_read_together_land_where_they_belong() {
    let directory = directory_on_disk();
    let bytes = pattern(1 << 20);
    let file = file_with(&directory, &bytes);
    let place = |index: u64| (index * 5003 + 7, 1 + index * 13 % 3000, (200 - index) * 4001);
    let segments: Vec<Segment> = (0..200)
        .map(place)
        .chain([((1 << 20) - 10, 100, 200 * 4001 + 5000)])
        .map(|(offset, len, to)| segment(offset, Length::Bytes(len), to))
        .collect();
    for policy in [Policy::AUTO, Policy::only(PathName::Bounce), Policy::only(PathName::Buffered)] {
        let wanted = LoadRequest { policy, ..request(memfd_target(0), &file, &segments) };
        let outcome = match load(&engine(), wanted) {
            // The directory may be on a file system without direct I/O.
            Err(EngineError::PathUnavailable { .. }) => continue,
            outcome => outcome.unwrap(),
        };
        assert_eq!(outcome.segment_bytes[200], 10);
        let mut loaded = contents(outcome.buffer.as_ref().unwrap());
        for (segment, len) in segments.iter().zip(&outcome.segment_bytes) {
            let (from, to) = (segment.file_offset_bytes, segment.buffer_offset_bytes as usize);
            let (from, len) = (from as usize, *len as usize);
            assert_eq!(loaded[to..to + len], bytes[from..from + len], "{policy:?} {segment:?}");
            loaded[to..to + len].fill(0);
        }
        assert!(loaded.iter().all(|byte| *byte == 0), "{policy:?}");
    }
}

#[test]
fn an_existing_buffer_keeps_what_no_segment_fills() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let buffer = engine.allocate(&sized_memfd(8192), &context()).unwrap();
    File::from(buffer.fd.try_clone().unwrap()).write_all_at(&[9; 8192], 0).unwrap();
    let bytes = pattern(5000);
    let file = file_with(&directory, &bytes);
    let target = Target::Existing(dup(&buffer.fd));
    let outcome = load(&engine, request(target, &file, &[WHOLE])).unwrap();
    assert!(outcome.buffer.is_none());
    let loaded = contents(&buffer);
    assert_eq!(loaded[..5000], bytes);
    assert!(loaded[5000..].iter().all(|byte| *byte == 9));
}

#[test]
fn what_is_loaded_can_be_saved() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let bytes = pattern(100_001);
    let file = file_with(&directory, &bytes);
    let loaded = load(&engine, request(memfd_target(0), &file, &[WHOLE])).unwrap();
    let path = directory.path().join("target");
    let target = File::create(&path).unwrap();
    let saved = engine
        .save(
            SaveRequest {
                buffer: loaded.buffer.unwrap().fd,
                files: vec![target.into()],
                segments: vec![segment(7, Length::Bytes(100_001), 0)],
                policy: Policy::AUTO,
            },
            &context(),
        )
        .unwrap();
    assert_eq!(saved.segment_bytes, [100_001]);
    assert_eq!(std::fs::read(path).unwrap()[7..], bytes);
}

#[test]
fn ranges_of_one_file_passed_twice_may_not_overlap() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let buffer = engine.allocate(&sized_memfd(8192), &context()).unwrap();
    let file = file_with(&directory, b"bytes");
    let again = OpenOptions::new().write(true).open(directory.path().join("source")).unwrap();
    let save = |second_offset| SaveRequest {
        buffer: dup(&buffer.fd),
        files: vec![dup(&file), dup(&again)],
        segments: vec![
            segment(0, Length::Bytes(4096), 0),
            Segment { file_index: 1, ..segment(second_offset, Length::Bytes(4096), 4096) },
        ],
        policy: Policy::AUTO,
    };
    let error = engine.save(save(4095), &context()).unwrap_err();
    let expected = Argument::SegmentFileOffset(1);
    assert!(
        matches!(error, EngineError::BadArgument { argument, .. } if argument == expected),
        "{error}"
    );
    assert!(engine.save(save(4096), &context()).is_ok());
}

#[test]
fn a_wrong_digest_fails_and_names_both() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, b"bytes");
    let expecting = |sha256| {
        let digests =
            DigestRequest { expected_sha256: Some(Sha256(sha256)), ..DigestRequest::default() };
        LoadRequest { digests, ..request(memfd_target(0), &file, &[WHOLE]) }
    };
    let error = load(&engine(), expecting([0; 32])).unwrap_err().to_string();
    assert!(error.contains(&"00".repeat(32)), "{error}");
    assert!(load(&engine(), expecting(ring_sha256(b"bytes"))).is_ok());
}

/// The digest is of the segments in the order of the request, also where a thread takes it while
/// they are loaded in the order of the file.
#[test]
fn an_overlapped_digest_has_the_segments_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = pattern((20 << 20) + 77);
    let file = file_with(&directory, &bytes);
    let half = 9 << 20;
    let segments = [
        segment(half, Length::ToEnd, 4096),
        segment(0, Length::Bytes(half), 16 << 20),
        segment(half - 100, Length::Bytes(50), 0),
    ];
    for policy in [Policy::AUTO, Policy::only(PathName::Bounce), Policy::only(PathName::Buffered)] {
        let wanted = LoadRequest { policy, ..request(memfd_target(0), &file, &segments) };
        let outcome = match load(&engine(), wanted) {
            // The temporary directory may be on a file system without direct I/O.
            Err(EngineError::PathUnavailable { .. }) => continue,
            outcome => outcome.unwrap(),
        };
        let in_order =
            [&bytes[9 << 20..], &bytes[..9 << 20], &bytes[(9 << 20) - 100..(9 << 20) - 50]];
        assert_eq!(outcome.sha256.unwrap().0, ring_sha256(&in_order.concat()), "{policy:?}");
    }
}

/// Also of small ranges that are read together, beside one that is large enough for a thread of its
/// own.
#[test]
fn an_overlapped_digest_includes_coalesced_ranges() {
    let directory = directory_on_disk();
    let bytes = pattern((12 << 20) + 5000);
    let file = file_with(&directory, &bytes);
    let large = 10 << 20;
    let mut segments = vec![segment(2 << 20, Length::Bytes(large), 0)];
    let mut expected = bytes[2 << 20..12 << 20].to_vec();
    let mut place = large;
    for index in 0..20 {
        let (offset, len) = (index * 5000 + 3, 100 + index);
        segments.push(segment(offset, Length::Bytes(len), place));
        expected.extend_from_slice(&bytes[offset as usize..(offset + len) as usize]);
        place += len + 1;
    }
    let outcome = load(&engine(), request(memfd_target(0), &file, &segments)).unwrap();
    assert_eq!(outcome.sha256.unwrap().0, ring_sha256(&expected));
}

#[test]
fn an_empty_file_needs_a_size() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, b"");
    let error = load(&engine(), request(memfd_target(0), &file, &[WHOLE])).unwrap_err();
    assert!(error.to_string().contains("empty file"), "{error}");
    let sized = load(&engine(), request(memfd_target(1), &file, &[WHOLE])).unwrap();
    assert_eq!(sized.segment_bytes, [0]);
}

#[test]
fn a_segment_past_the_size_asked_for_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, &pattern(4097));
    let error = load(&engine(), request(memfd_target(4096), &file, &[WHOLE])).unwrap_err();
    let expected = Argument::SegmentBufferOffset(0);
    assert!(
        matches!(error, EngineError::BadArgument { argument, .. } if argument == expected),
        "{error}"
    );
}

#[test]
fn only_a_buffer_is_accepted_as_a_target() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, b"bytes");
    let target = Target::Existing(dup(&file));
    let error = load(&engine(), request(target, &file, &[WHOLE])).unwrap_err();
    let (argument, found) = (Argument::ExistingTarget, "a regular file");
    let expected = "a dma-buf";
    assert_eq!(error, EngineError::UnsupportedFile { argument, found, expected });
}

#[test]
fn a_buffer_in_the_wrong_mode_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, &pattern(4096));
    let engine = engine();
    let buffer = engine.allocate(&sized_memfd(4096), &context()).unwrap();
    let reopened = |flags| {
        let path = format!("/proc/self/fd/{}", buffer.fd.as_raw_fd());
        rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap()
    };
    let not_for_filling = "target buffer: is not open for reading and writing";
    for (flags, expected) in [
        (OFlags::RDONLY, not_for_filling),
        (OFlags::WRONLY, not_for_filling),
        (OFlags::PATH, "target buffer: is an O_PATH fd"),
    ] {
        let target = Target::Existing(reopened(flags));
        let error = load(&engine, request(target, &file, &[WHOLE])).unwrap_err();
        assert!(matches!(error, EngineError::BadFd { .. }), "{error:?}");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    assert_eq!(contents(&buffer), [0; 4096]);
    let saved = engine.save(
        SaveRequest {
            buffer: reopened(OFlags::WRONLY),
            files: vec![dup(&file)],
            segments: vec![WHOLE],
            policy: Policy::AUTO,
        },
        &context(),
    );
    let error = saved.unwrap_err().to_string();
    assert!(error.starts_with("buffer: is not open for reading"), "{error}");
}

#[test]
fn memfds_are_refused_where_they_are_not_allowed() {
    let strict = Engine::new(EngineConfig { allow_memfd: false, ..config() });
    let memfd = dmabuf_uapi::memfd::create_sealed(c"m", 4096).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, b"bytes");
    let target = Target::Existing(memfd);
    let error = load(&strict, request(target, &file, &[WHOLE])).unwrap_err();
    assert!(matches!(error, EngineError::UnsupportedFile { .. }), "{error}");
}

#[test]
fn gaps_are_what_no_segment_has_filled() {
    let buffer = engine().allocate(&sized_memfd(3 * 4096), &context()).unwrap();
    File::from(buffer.fd.try_clone().unwrap()).write_all_at(&[9; 3 * 4096], 0).unwrap();
    let segment = |buffer_offset_bytes, len_bytes| ResolvedSegment {
        file_index: 0,
        file_offset_bytes: 0,
        buffer_offset_bytes,
        len_bytes,
    };
    // The second one came to 50 of its 100 bytes.
    let segments = [segment(8000, 192), segment(100, 100)];
    let view = BufferView::new(buffer.fd.as_fd(), buffer.size_bytes, BufferKind::Memfd);
    let cpu = CpuView::new(view, CpuAccess::WRITE);
    zero_gaps(&cpu, &segments, &[192, 50]).unwrap();
    let bytes = contents(&buffer);
    for (index, byte) in bytes.iter().enumerate() {
        let filled = (100..150).contains(&index) || (8000..8192).contains(&index);
        assert_eq!(*byte == 9, filled, "byte {index}");
    }
}

fn sized_memfd(size_bytes: u64) -> NewBuffer {
    NewBuffer { heap: "memfd".to_owned(), size_bytes, name: String::new() }
}

#[test]
fn requests_leave_no_fd_behind() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let file = file_with(&directory, &pattern(10_000));
    let too_long = [segment(0, Length::Bytes(1 << 40), 0)];
    let wrong_digest = || {
        let digests =
            DigestRequest { expected_sha256: Some(Sha256([1; 32])), ..DigestRequest::default() };
        LoadRequest { digests, ..request(memfd_target(0), &file, &[WHOLE]) }
    };
    // Other tests of this process open files meanwhile, so what counts is memfds of this engine.
    let before = loader_memfds();
    for _ in 0..20 {
        load(&engine, request(memfd_target(0), &file, &[WHOLE])).unwrap();
        load(&engine, request(memfd_target(0), &file, &too_long)).unwrap_err();
        load(&engine, wrong_digest()).unwrap_err();
    }
    let after = loader_memfds();
    assert!(after < before + 20, "{before} before, {after} after 60 requests");
}

fn loader_memfds() -> usize {
    memfd_sizes().count()
}

fn loader_memfds_of(size_bytes: u64) -> usize {
    memfd_sizes().filter(|size| *size == size_bytes).count()
}

/// The sizes of the engine's memfds that this process has open, in bytes.
fn memfd_sizes() -> impl Iterator<Item = u64> {
    let is_memfd = |path: &std::path::PathBuf| {
        let link = std::fs::read_link(path).unwrap_or_default();
        link.to_string_lossy().starts_with("/memfd:dmabuf-loader")
    };
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| entry.path());
    fds.filter(is_memfd).filter_map(|path| Some(std::fs::metadata(path).ok()?.len()))
}

/// Every path by name, where this machine and the directory have it.
fn policies() -> impl Iterator<Item = Policy> {
    [Policy::AUTO].into_iter().chain(PathName::ALL.map(Policy::only))
}

/// Loads by a policy; `None` where the machine does not have the path.
fn load_if_possible(engine: &Engine, request: LoadRequest) -> Option<LoadOutcome> {
    match load(engine, request) {
        Err(EngineError::PathUnavailable { .. }) => None,
        outcome => Some(outcome.unwrap()),
    }
}

#[test]
fn file_ranges_may_nest_overlap_repeat_and_touch() {
    let directory = directory_on_disk();
    let bytes = pattern(1 << 20);
    let file = file_with(&directory, &bytes);
    let cases: [(&str, &[(u64, u64)]); 5] = [
        ("nested", &[(0, 20_000), (100, 100)]),
        ("nested at the end", &[(0, 20_000), (19_990, 10), (100, 100)]),
        ("equal", &[(5000, 3000), (5000, 3000)]),
        ("overlapping", &[(1000, 9000), (6000, 9000), (2000, 100)]),
        ("touching", &[(0, 4096), (4096, 5000), (9096, 1)]),
    ];
    let engine = engine();
    for (what, ranges) in cases {
        let segments: Vec<Segment> = ranges
            .iter()
            .zip((0..).step_by(40_960))
            .map(|((offset, len), place)| segment(*offset, Length::Bytes(*len), place))
            .collect();
        for policy in policies() {
            let wanted = LoadRequest { policy, ..request(memfd_target(0), &file, &segments) };
            let Some(outcome) = load_if_possible(&engine, wanted) else { continue };
            let lengths: Vec<u64> = ranges.iter().map(|(_, len)| *len).collect();
            assert_eq!(outcome.segment_bytes, lengths, "{what} {policy:?}");
            let loaded = contents(outcome.buffer.as_ref().unwrap());
            for ((offset, len), place) in ranges.iter().zip((0..).step_by(40_960)) {
                let (from, len) = (*offset as usize, *len as usize);
                assert_eq!(
                    loaded[place..place + len],
                    bytes[from..from + len],
                    "{what} {policy:?}"
                );
            }
        }
    }
}

/// Cancels the request when it has moved so many bytes.
struct CancelAt {
    bytes: u64,
    cancel: CancelToken,
    seen: Mutex<Vec<Progress>>,
}

impl ProgressSink for CancelAt {
    fn on_progress(&self, progress: Progress) {
        self.seen.lock().unwrap().push(progress);
        if progress.moved_bytes >= self.bytes {
            self.cancel.cancel();
        }
    }
}

/// A context that is cancelled when so many bytes have been moved, and what its sink has seen.
fn watched(cancel_at_bytes: u64) -> (Context, Arc<CancelAt>) {
    let cancel = CancelToken::default();
    let sink = CancelAt { bytes: cancel_at_bytes, cancel: cancel.clone(), seen: Mutex::default() };
    let sink = Arc::new(sink);
    let progress: Arc<dyn ProgressSink> = Arc::clone(&sink) as _;
    (Context { cancel, progress: Some(progress), ..context() }, sink)
}

#[test]
fn a_queued_load_is_cancelled_in_the_middle_by_each_path() {
    // Of a size that no other test of this process has.
    const LEN: u64 = (48 << 20) + (12 << 10);
    let directory = directory_on_disk();
    let file = file_with(&directory, &pattern(LEN as usize));
    let engine = Arc::new(engine());
    let mut cancelled = 0;
    for policy in policies() {
        let wanted = LoadRequest { policy, ..request(memfd_target(0), &file, &[WHOLE]) };
        let (context, sink) = watched(8 << 20);
        let prepared = match engine.prepare_load(wanted, &context) {
            Err(EngineError::PathUnavailable { .. }) => continue,
            prepared => prepared.unwrap(),
        };
        assert_eq!((prepared.new_buffer_bytes(), prepared.total_bytes()), (LEN, LEN));
        let (other, context) = (Arc::clone(&engine), context.clone());
        let queued = std::thread::spawn(move || other.run_load(prepared, &context).map(|_| ()));
        assert_eq!(queued.join().unwrap(), Err(EngineError::Cancelled), "{policy:?}");
        let moved = sink.seen.lock().unwrap().last().unwrap().moved_bytes;
        // What was in flight: a watched batch of each thread.
        assert!((8 << 20..=(8 << 20) + (16 << 20)).contains(&moved), "{policy:?} {moved}");
        assert_eq!(loader_memfds_of(LEN), 0, "{policy:?}: the buffer is not freed");
        cancelled += 1;
    }
    assert!(cancelled >= 2, "AUTO and BUFFERED are always possible");
}

#[test]
fn a_cancelled_save_ends_in_the_middle() {
    const LEN: u64 = 48 << 20;
    let directory = directory_on_disk();
    let engine = engine();
    let buffer = engine.allocate(&sized_memfd(LEN), &context()).unwrap();
    let path = directory.path().join("target");
    for policy in [Policy::AUTO, Policy::only(PathName::Buffered)] {
        let save = SaveRequest {
            buffer: dup(&buffer.fd),
            files: vec![File::create(&path).unwrap().into()],
            segments: vec![WHOLE],
            policy,
        };
        let (context, _) = watched(8 << 20);
        assert_eq!(engine.save(save, &context).map(|_| ()), Err(EngineError::Cancelled));
        assert!(std::fs::metadata(&path).unwrap().len() < LEN);
    }
}

#[test]
fn a_request_past_its_deadline_allocates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, &pattern(5000));
    let engine = engine();
    let prepared =
        engine.prepare_load(request(memfd_target(0), &file, &[WHOLE]), &context()).unwrap();
    let late = Context { deadline: Some(Instant::now()), ..context() };
    let error = engine.run_load(prepared, &late).unwrap_err();
    assert_eq!(error, EngineError::DeadlineExceeded);
    let error = engine.load(request(memfd_target(0), &file, &[WHOLE]), &late).unwrap_err();
    assert_eq!(error, EngineError::DeadlineExceeded);
}

/// A load large enough for several calls in flight, with a digest beside it.
#[test]
fn progress_of_a_large_load_grows_to_its_end() {
    const LEN: u64 = 256 << 20;
    let directory = directory_on_disk();
    let path = directory.path().join("large");
    let mut file = File::create(&path).unwrap();
    let block = pattern(8 << 20);
    for _ in 0..LEN / (8 << 20) {
        std::io::Write::write_all(&mut file, &block).unwrap();
    }
    let file = File::open(&path).unwrap();
    for report_sha256 in [false, true] {
        let digests = DigestRequest { report_sha256, ..DigestRequest::default() };
        let wanted = LoadRequest { digests, ..request(memfd_target(0), &file, &[WHOLE]) };
        let (context, sink) = watched(u64::MAX);
        let outcome = engine().load(wanted, &context).unwrap();
        assert_eq!(outcome.segment_bytes, [LEN]);
        let seen = sink.seen.lock().unwrap();
        assert!(seen.len() >= 8, "only {} reports", seen.len());
        assert!(seen.is_sorted_by(|a, b| a.moved_bytes < b.moved_bytes));
        assert!(seen.iter().all(|progress| progress.total_bytes == LEN));
        assert_eq!(seen.last().unwrap().moved_bytes, LEN);
    }
}

/// The digest of the last bytes is taken when all have been moved.
#[test]
fn a_cancelled_digest_ends_in_the_middle() {
    const LEN: u64 = 24 << 20;
    let directory = directory_on_disk();
    let file = file_with(&directory, &pattern(LEN as usize));
    for max_helper_threads in [0, 4] {
        let engine = Engine::new(EngineConfig { max_helper_threads, ..config() });
        let (context, sink) = watched(LEN);
        let outcome = engine.load(request(memfd_target(0), &file, &[WHOLE]), &context);
        assert_eq!(sink.seen.lock().unwrap().last().unwrap().moved_bytes, LEN);
        assert_eq!(outcome.map(|_| ()), Err(EngineError::Cancelled), "{max_helper_threads}");
    }
}

#[test]
fn an_empty_heap_name_takes_the_first_heap_that_fits() {
    let engine = engine();
    let first = engine.heaps()[0].name.to_string();
    let request = NewBuffer { size_bytes: 4096, ..NewBuffer::default() };
    assert_eq!(engine.allocate(&request, &context()).unwrap().heap, first);
}
