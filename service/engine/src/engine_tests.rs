// SPDX-License-Identifier: Apache-2.0
//! The engine on this machine: whatever heaps it has, and memfd.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::OFlags;
use tempfile::TempDir;

use super::*;
use crate::request::Length;

const CLIENT: ClientId = ClientId(1000);

fn engine() -> Engine {
    Engine::new(EngineConfig {
        allow_memfd: true,
        max_buffer_bytes: 64 << 20,
        pool: PoolConfig::OFF,
    })
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

fn memfd_target(size_bytes: u64) -> Target<'static> {
    Target::New(sized_memfd(size_bytes))
}

fn request<'fd>(
    target: Target<'fd>,
    file: BorrowedFd<'fd>,
    segments: &[Segment],
) -> LoadRequest<'fd> {
    LoadRequest {
        report_sha256: true,
        ..LoadRequest::new(CLIENT, target, vec![file], segments.to_vec())
    }
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
        let outcome = engine.load(&request(memfd_target(0), file.as_fd(), &[WHOLE])).unwrap();
        assert_eq!(outcome.segment_bytes, [len as u64]);
        let loaded = contents(outcome.buffer.as_ref().unwrap());
        assert_eq!(loaded[..len], bytes);
        assert!(loaded[len..].iter().all(|byte| *byte == 0));
        assert_eq!(outcome.sha256.unwrap().0, ring_sha256(&bytes));
    }
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
    let outcome = engine().load(&request(memfd_target(0), file.as_fd(), &segments)).unwrap();
    let loaded = contents(outcome.buffer.as_ref().unwrap());
    assert_eq!(outcome.segment_bytes, [5000, 1, 1]);
    assert_eq!(loaded[9000..14_000], bytes[100..5100]);
    assert_eq!((loaded[0], loaded[8191]), (bytes[0], bytes[19_999]));
    assert!(loaded[1..8191].iter().chain(&loaded[8192..9000]).all(|byte| *byte == 0));
}

#[test]
fn a_range_past_the_end_of_the_file_is_loaded_as_far_as_it_goes() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, &pattern(5000));
    let segments = [segment(4000, Length::Bytes(3000), 0), segment(6000, Length::Bytes(10), 4096)];
    let outcome = engine().load(&request(memfd_target(0), file.as_fd(), &segments)).unwrap();
    assert_eq!(outcome.segment_bytes, [1000, 0]);
    assert_eq!(outcome.buffer.unwrap().size_bytes, 8192);
}

#[test]
fn a_file_opened_with_o_direct_loads_at_any_offset() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
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
        let outcome = engine().load(&request(memfd_target(0), direct.as_fd(), &segments)).unwrap();
        let loaded = contents(outcome.buffer.as_ref().unwrap());
        let (offset, len) = (offset as usize, len as usize);
        assert_eq!(loaded[3..3 + len], bytes[offset..offset + len], "{offset} {len}");
    }
}

/// Small ranges close together, read as one, and the last of them past the end of the file.
#[test]
fn small_ranges_are_gathered_and_land_where_they_belong() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let bytes = pattern(1 << 20);
    let file = file_with(&directory, &bytes);
    let place = |index: u64| (index * 5003 + 7, 1 + index * 13 % 3000, (200 - index) * 4001);
    let segments: Vec<Segment> = (0..200)
        .map(place)
        .chain([((1 << 20) - 10, 100, 200 * 4001 + 5000)])
        .map(|(offset, len, to)| segment(offset, Length::Bytes(len), to))
        .collect();
    for policy in [Policy::Auto, Policy::Named(Path::Bounce), Policy::Named(Path::Buffered)] {
        let wanted = LoadRequest { policy, ..request(memfd_target(0), file.as_fd(), &segments) };
        let outcome = match engine().load(&wanted) {
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
    let buffer = engine.allocate(&sized_memfd(8192), CLIENT).unwrap();
    File::from(buffer.fd.try_clone().unwrap()).write_all_at(&[9; 8192], 0).unwrap();
    let bytes = pattern(5000);
    let file = file_with(&directory, &bytes);
    let target = Target::Existing(buffer.fd.as_fd());
    let outcome = engine.load(&request(target, file.as_fd(), &[WHOLE])).unwrap();
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
    let loaded = engine.load(&request(memfd_target(0), file.as_fd(), &[WHOLE])).unwrap();
    let path = directory.path().join("target");
    let target = File::create(&path).unwrap();
    let saved = engine
        .save(&SaveRequest {
            buffer: loaded.buffer.as_ref().unwrap().fd.as_fd(),
            files: [target.as_fd()].into(),
            segments: [segment(7, Length::Bytes(100_001), 0)].into(),
            policy: Policy::Auto,
        })
        .unwrap();
    assert_eq!(saved.segment_bytes, [100_001]);
    assert_eq!(std::fs::read(path).unwrap()[7..], bytes);
}

#[test]
fn a_wrong_digest_fails_and_names_both() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, b"bytes");
    let wanted = LoadRequest {
        expected_sha256: Some(Sha256([0; 32])),
        ..request(memfd_target(0), file.as_fd(), &[WHOLE])
    };
    let error = engine().load(&wanted).unwrap_err().to_string();
    assert!(error.contains(&"00".repeat(32)), "{error}");
    let right = LoadRequest { expected_sha256: Some(Sha256(ring_sha256(b"bytes"))), ..wanted };
    assert!(engine().load(&right).is_ok());
}

/// The digest is of the segments in the order of the request, also where a thread takes it while they are loaded in
/// the order of the file.
#[test]
fn a_digest_taken_along_the_way_is_that_of_the_segments_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = pattern((20 << 20) + 77);
    let file = file_with(&directory, &bytes);
    let half = 9 << 20;
    let segments = [
        segment(half, Length::ToEnd, 4096),
        segment(0, Length::Bytes(half), 16 << 20),
        segment(half - 100, Length::Bytes(50), 0),
    ];
    for policy in [Policy::Auto, Policy::Named(Path::Bounce), Policy::Named(Path::Buffered)] {
        let wanted = LoadRequest { policy, ..request(memfd_target(0), file.as_fd(), &segments) };
        let outcome = match engine().load(&wanted) {
            // The temporary directory may be on a file system without direct I/O.
            Err(EngineError::PathUnavailable { .. }) => continue,
            outcome => outcome.unwrap(),
        };
        let in_order =
            [&bytes[9 << 20..], &bytes[..9 << 20], &bytes[(9 << 20) - 100..(9 << 20) - 50]];
        assert_eq!(outcome.sha256.unwrap().0, ring_sha256(&in_order.concat()), "{policy:?}");
    }
}

/// Also of small ranges that are read together, beside one that is large enough for a thread of its own.
#[test]
fn a_digest_taken_along_the_way_includes_gathered_ranges() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
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
    let outcome = engine().load(&request(memfd_target(0), file.as_fd(), &segments)).unwrap();
    assert_eq!(outcome.sha256.unwrap().0, ring_sha256(&expected));
}

#[test]
fn an_empty_file_needs_a_size() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, b"");
    let error = engine().load(&request(memfd_target(0), file.as_fd(), &[WHOLE])).unwrap_err();
    assert!(error.to_string().contains("empty file"), "{error}");
    let sized = engine().load(&request(memfd_target(1), file.as_fd(), &[WHOLE])).unwrap();
    assert_eq!(sized.segment_bytes, [0]);
}

#[test]
fn a_segment_past_the_size_asked_for_is_refused_before_allocation() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, &pattern(4097));
    let error = engine().load(&request(memfd_target(4096), file.as_fd(), &[WHOLE])).unwrap_err();
    assert!(error.to_string().starts_with("segments[0].bufferOffsetBytes: "), "{error}");
}

#[test]
fn what_is_no_buffer_is_refused_as_a_target() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, b"bytes");
    let target = Target::Existing(file.as_fd());
    let error = engine().load(&request(target, file.as_fd(), &[WHOLE])).unwrap_err();
    assert_eq!(error.to_string(), "target.existing: is a regular file, expected a dma-buf");
}

#[test]
fn a_buffer_in_the_wrong_mode_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, &pattern(4096));
    let engine = engine();
    let buffer = engine.allocate(&sized_memfd(4096), CLIENT).unwrap();
    let reopened = |flags| {
        let path = format!("/proc/self/fd/{}", buffer.fd.as_raw_fd());
        rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap()
    };
    let not_for_filling = "target.existing: is not open for reading and writing";
    for (flags, expected) in [
        (OFlags::RDONLY, not_for_filling),
        (OFlags::WRONLY, not_for_filling),
        (OFlags::PATH, "target.existing: is an O_PATH fd"),
    ] {
        let target = reopened(flags);
        let error = engine.load(&request(Target::Existing(target.as_fd()), file.as_fd(), &[WHOLE]));
        let error = error.unwrap_err();
        assert!(matches!(error, EngineError::BadFd { .. }), "{error:?}");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    assert_eq!(contents(&buffer), [0; 4096]);
    let write_only = reopened(OFlags::WRONLY);
    let saved = engine.save(&SaveRequest {
        buffer: write_only.as_fd(),
        files: [file.as_fd()].into(),
        segments: [WHOLE].into(),
        policy: Policy::Auto,
    });
    let error = saved.unwrap_err().to_string();
    assert!(error.starts_with("buffer: is not open for reading"), "{error}");
}

#[test]
fn a_memfd_is_no_buffer_where_memfds_are_not_allowed() {
    let strict = Engine::new(EngineConfig {
        allow_memfd: false,
        max_buffer_bytes: 1 << 20,
        pool: PoolConfig::OFF,
    });
    let memfd = dmabuf_uapi::memfd::create_sealed(c"m", 4096).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = file_with(&directory, b"bytes");
    let error =
        strict.load(&request(Target::Existing(memfd.as_fd()), file.as_fd(), &[WHOLE])).unwrap_err();
    assert!(matches!(error, EngineError::UnsupportedFile { .. }), "{error}");
}

#[test]
fn gaps_are_what_no_segment_has_filled() {
    let buffer = engine().allocate(&sized_memfd(3 * 4096), CLIENT).unwrap();
    File::from(buffer.fd.try_clone().unwrap()).write_all_at(&[9; 3 * 4096], 0).unwrap();
    let segment = |buffer_offset_bytes, len_bytes| ResolvedSegment {
        file_index: 0,
        file_offset_bytes: 0,
        buffer_offset_bytes,
        len_bytes,
    };
    // The second one came to 50 of its 100 bytes.
    let segments = [segment(8000, 192), segment(100, 100)];
    clear_gaps(&buffer.view(), &segments, &[192, 50]).unwrap();
    let bytes = contents(&buffer);
    for (index, byte) in bytes.iter().enumerate() {
        let filled = (100..150).contains(&index) || (8000..8192).contains(&index);
        assert_eq!(*byte == 9, filled, "byte {index}");
    }
}

fn sized_memfd(size_bytes: u64) -> NewBuffer<'static> {
    NewBuffer { heap: "memfd", size_bytes, name: "" }
}

#[test]
fn requests_leave_no_fd_behind() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let file = file_with(&directory, &pattern(10_000));
    let too_long = [segment(0, Length::Bytes(1 << 40), 0)];
    let wrong_digest = LoadRequest {
        expected_sha256: Some(Sha256([1; 32])),
        ..request(memfd_target(0), file.as_fd(), &[WHOLE])
    };
    // Other tests of this process open files meanwhile, so what counts is memfds of this engine.
    let before = loader_memfds();
    for _ in 0..20 {
        engine.load(&request(memfd_target(0), file.as_fd(), &[WHOLE])).unwrap();
        engine.load(&request(memfd_target(0), file.as_fd(), &too_long)).unwrap_err();
        engine.load(&wrong_digest).unwrap_err();
    }
    let after = loader_memfds();
    assert!(after < before + 20, "{before} before, {after} after 60 requests");
}

fn loader_memfds() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    links
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|link| link.to_string_lossy().starts_with("/memfd:dmabuf-loader"))
        .count()
}
