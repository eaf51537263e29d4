// SPDX-License-Identifier: Apache-2.0
//! What a caller asks for, and the checks that need nothing but the numbers.

use std::os::fd::BorrowedFd;

use smallvec::SmallVec;

use crate::digest::Sha256;
use crate::error::{EngineError, Result};
use crate::fs_verity::FileDigest;
use crate::path::Path;

/// The most segments of one request.
pub const MAX_SEGMENTS: usize = 4096;
/// The most files of one request: half of what one message of the socket transport carries, 64.
pub const MAX_FILES: usize = 32;

/// Who asks, as far as bytes and accounts are concerned: a uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub u32);

/// A buffer to be allocated.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewBuffer<'a> {
    /// The heap's name, empty for any.
    pub heap: &'a str,
    /// Size in bytes; in a load 0 means as large as the segments need.
    pub size_bytes: u64,
    /// Debug name, empty for the default.
    pub name: &'a str,
}

/// Where a load puts the bytes.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Into a buffer to be allocated.
    New(NewBuffer<'a>),
    /// Into the caller's buffer.
    Existing(BorrowedFd<'a>),
}

/// How long a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Bytes(u64),
    /// To the end of the file for a load, of the buffer for a save.
    ToEnd,
}

/// One range of one file and its place in the buffer. Offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index into the request's files.
    pub file_index: usize,
    /// Where the range begins in the file.
    pub file_offset_bytes: u64,
    /// How long it is.
    pub length: Length,
    /// Where it begins in the buffer.
    pub buffer_offset_bytes: u64,
}

impl Segment {
    /// The whole of the first file, to the start of the buffer; of a save, the whole buffer.
    pub const WHOLE_FILE: Self =
        Self { file_index: 0, file_offset_bytes: 0, length: Length::ToEnd, buffer_offset_bytes: 0 };
}

/// The files of a request, borrowed from the caller; mostly one.
pub type Files<'fd> = SmallVec<[BorrowedFd<'fd>; 1]>;

/// The ranges of a request; mostly one.
pub type Segments = SmallVec<[Segment; 1]>;

/// Which paths are permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The cheapest that works.
    Auto,
    /// Direct I/O or failure.
    RequireDirect,
    /// This path, direct or buffered, or failure.
    Named(Path),
}

/// A load.
#[derive(Clone, Debug)]
pub struct LoadRequest<'a> {
    /// Who asks.
    pub client: ClientId,
    /// Where the bytes go.
    pub target: Target<'a>,
    /// The files, borrowed from the caller.
    pub files: Files<'a>,
    /// The ranges.
    pub segments: Segments,
    /// Which paths are permitted.
    pub policy: Policy,
    /// The digest that the loaded bytes must have.
    pub expected_sha256: Option<Sha256>,
    /// Whether to report the digest.
    pub report_sha256: bool,
    /// The fs-verity digests that files must have, at most one for each file.
    pub expected_verity: Vec<FileDigest>,
    /// Whether to report the fs-verity digest of every file.
    pub report_verity: bool,
}

impl<'a> LoadRequest<'a> {
    /// A load by the cheapest path, of files that need not have any digest, which reports none.
    pub fn new(
        client: ClientId,
        target: Target<'a>,
        files: impl Into<Files<'a>>,
        segments: impl Into<Segments>,
    ) -> Self {
        Self {
            client,
            target,
            files: files.into(),
            segments: segments.into(),
            policy: Policy::Auto,
            expected_sha256: None,
            report_sha256: false,
            expected_verity: Vec::new(),
            report_verity: false,
        }
    }
}

/// A save.
#[derive(Clone, Debug)]
pub struct SaveRequest<'fd> {
    /// The buffer, borrowed from the caller.
    pub buffer: BorrowedFd<'fd>,
    /// The files, borrowed from the caller.
    pub files: Files<'fd>,
    /// The ranges.
    pub segments: Segments,
    /// Which paths are permitted.
    pub policy: Policy,
}

/// A segment with its length known. Every end fits an `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedSegment {
    /// Index into the request's files.
    pub file_index: usize,
    /// Where the range begins in the file, in bytes.
    pub file_offset_bytes: u64,
    /// Where it begins in the buffer, in bytes.
    pub buffer_offset_bytes: u64,
    /// How long it is, in bytes.
    pub len_bytes: u64,
}

/// The segments of a request; mostly one.
pub type ResolvedSegments = SmallVec<[ResolvedSegment; 1]>;

impl ResolvedSegment {
    /// Where the range ends in the file.
    pub fn file_end_bytes(&self) -> u64 {
        self.file_offset_bytes + self.len_bytes
    }

    /// Where the range ends in the buffer.
    pub fn buffer_end_bytes(&self) -> u64 {
        self.buffer_offset_bytes + self.len_bytes
    }
}

/// How errors name a segment's field.
pub fn segment_argument(index: usize, field: &str) -> String {
    format!("segments[{index}].{field}")
}

/// Checks the counts and the indices of a request.
///
/// # Errors
/// [`EngineError::BadArgument`].
pub fn check_counts(file_count: usize, segments: &[Segment]) -> Result<()> {
    let in_range = |argument: &str, count: usize, limit: usize| {
        if count == 0 || count > limit {
            let problem = format!("has {count} elements, expected 1 to {limit}");
            return Err(EngineError::bad_argument(argument, problem));
        }
        Ok(())
    };
    in_range("files", file_count, MAX_FILES)?;
    in_range("segments", segments.len(), MAX_SEGMENTS)?;
    for (index, segment) in segments.iter().enumerate() {
        if segment.file_index >= file_count {
            return Err(EngineError::bad_argument(
                segment_argument(index, "fileIndex"),
                format!("is {}, but files has {file_count} elements", segment.file_index),
            ));
        }
    }
    Ok(())
}

/// Works out each segment's length. `bytes_to_end` says how many bytes [`Length::ToEnd`] means for a segment.
///
/// # Errors
/// [`EngineError::BadArgument`] where an offset plus a length does not fit.
pub fn resolve(
    segments: &[Segment],
    bytes_to_end: impl Fn(&Segment) -> u64,
) -> Result<ResolvedSegments> {
    segments
        .iter()
        .enumerate()
        .map(|(index, segment)| {
            let len_bytes = match segment.length {
                Length::Bytes(bytes) => bytes,
                Length::ToEnd => bytes_to_end(segment),
            };
            for (field, offset) in [
                ("fileOffsetBytes", segment.file_offset_bytes),
                ("bufferOffsetBytes", segment.buffer_offset_bytes),
            ] {
                let end = offset.checked_add(len_bytes);
                if end.is_none_or(|end| i64::try_from(end).is_err()) {
                    return Err(EngineError::bad_argument(
                        segment_argument(index, field),
                        format!("{offset} plus the length {len_bytes} is over 2^63 - 1"),
                    ));
                }
            }
            Ok(ResolvedSegment {
                file_index: segment.file_index,
                file_offset_bytes: segment.file_offset_bytes,
                buffer_offset_bytes: segment.buffer_offset_bytes,
                len_bytes,
            })
        })
        .collect()
}

/// Checks that the places in the buffer lie inside it.
///
/// # Errors
/// [`EngineError::BadArgument`] naming the segment.
pub fn check_buffer_ranges(segments: &[ResolvedSegment], buffer_bytes: u64) -> Result<()> {
    for (index, segment) in segments.iter().enumerate() {
        let end = segment.buffer_end_bytes();
        if end > buffer_bytes {
            return Err(EngineError::bad_argument(
                segment_argument(index, "bufferOffsetBytes"),
                format!("the segment ends at byte {end}, the buffer has {buffer_bytes}"),
            ));
        }
    }
    Ok(())
}

/// Checks that ranges do not overlap, by a start and an end that the caller picks.
///
/// # Errors
/// [`EngineError::BadArgument`] naming the two segments.
pub fn check_no_overlap(
    segments: &[ResolvedSegment],
    field: &str,
    range: impl Fn(&ResolvedSegment) -> (usize, u64, u64),
) -> Result<()> {
    if segments.len() < 2 {
        return Ok(());
    }
    let not_empty = |index: &usize| segments[*index].len_bytes > 0;
    let mut order: Vec<usize> = (0..segments.len()).filter(not_empty).collect();
    order.sort_by_key(|index| range(&segments[*index]));
    for pair in order.windows(2) {
        let (earlier, later) = (range(&segments[pair[0]]), range(&segments[pair[1]]));
        if earlier.0 == later.0 && later.1 < earlier.2 {
            return Err(EngineError::bad_argument(
                segment_argument(pair[1], field),
                format!("overlaps segments[{}]", pair[0]),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(file_offset_bytes: u64, length: Length, buffer_offset_bytes: u64) -> Segment {
        Segment { file_index: 0, file_offset_bytes, length, buffer_offset_bytes }
    }

    fn resolved(segments: &[Segment]) -> ResolvedSegments {
        resolve(segments, |_| 0).unwrap()
    }

    #[test]
    fn counts_outside_their_range_are_refused() {
        let one = [segment(0, Length::ToEnd, 0)];
        assert!(check_counts(1, &one).is_ok());
        assert!(check_counts(0, &one).is_err());
        assert!(check_counts(MAX_FILES + 1, &one).is_err());
        assert!(check_counts(1, &[]).is_err());
        assert!(check_counts(1, &[one[0]; MAX_SEGMENTS + 1]).is_err());
    }

    #[test]
    fn a_file_index_past_the_files_is_named() {
        let bad = Segment { file_index: 1, ..segment(0, Length::ToEnd, 0) };
        let error = check_counts(1, &[bad]).unwrap_err().to_string();
        assert!(error.starts_with("segments[0].fileIndex: "), "{error}");
    }

    #[test]
    fn ends_that_do_not_fit_are_refused() {
        let largest = i64::MAX as u64;
        assert!(resolve(&[segment(largest, Length::Bytes(0), 0)], |_| 0).is_ok());
        assert!(resolve(&[segment(largest, Length::Bytes(1), 0)], |_| 0).is_err());
        assert!(resolve(&[segment(0, Length::Bytes(1), largest)], |_| 0).is_err());
        assert!(resolve(&[segment(1, Length::Bytes(u64::MAX), 0)], |_| 0).is_err());
    }

    #[test]
    fn overlap_is_found_whatever_the_order() {
        let range = |s: &ResolvedSegment| (0, s.buffer_offset_bytes, s.buffer_end_bytes());
        let touching =
            resolved(&[segment(0, Length::Bytes(10), 10), segment(0, Length::Bytes(10), 0)]);
        assert!(check_no_overlap(&touching, "bufferOffsetBytes", range).is_ok());
        let overlapping =
            resolved(&[segment(0, Length::Bytes(10), 9), segment(0, Length::Bytes(10), 0)]);
        let error = check_no_overlap(&overlapping, "bufferOffsetBytes", range).unwrap_err();
        assert_eq!(error.to_string(), "segments[0].bufferOffsetBytes: overlaps segments[1]");
    }

    #[test]
    fn empty_segments_overlap_nothing() {
        let range = |s: &ResolvedSegment| (0, s.buffer_offset_bytes, s.buffer_end_bytes());
        let inside = resolved(&[segment(0, Length::Bytes(10), 0), segment(0, Length::Bytes(0), 5)]);
        assert!(check_no_overlap(&inside, "bufferOffsetBytes", range).is_ok());
    }

    #[test]
    fn a_segment_past_the_buffer_is_named() {
        let segments = resolved(&[segment(0, Length::Bytes(4097), 0)]);
        assert!(check_buffer_ranges(&segments, 4097).is_ok());
        let error = check_buffer_ranges(&segments, 4096).unwrap_err().to_string();
        assert!(error.starts_with("segments[0].bufferOffsetBytes: "), "{error}");
    }
}
