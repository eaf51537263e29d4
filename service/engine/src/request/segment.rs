// SPDX-License-Identifier: Apache-2.0
//! Ranges of files and their places in the buffer, and the checks that need only their numbers.

use crate::error::{Argument, EngineError, Result};

/// The most segments of one request.
pub const MAX_SEGMENTS: usize = 4096;
/// The most files of one request: half of what one message of the socket transport carries, 64.
pub const MAX_FILES: usize = 32;

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
    /// The whole first file, to the start of the buffer; of a save, the whole buffer.
    pub const WHOLE_FILE: Self =
        Self { file_index: 0, file_offset_bytes: 0, length: Length::ToEnd, buffer_offset_bytes: 0 };
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

impl ResolvedSegment {
    /// Where the range ends in the file.
    pub fn file_end_bytes(&self) -> u64 {
        self.file_offset_bytes + self.len_bytes
    }

    /// Where the range ends in the buffer.
    pub fn buffer_end_bytes(&self) -> u64 {
        self.buffer_offset_bytes + self.len_bytes
    }

    /// The part of it that lies before a place in the file.
    pub(crate) fn cut_at_file_offset(&self, end_bytes: u64) -> Self {
        let available_bytes = end_bytes.saturating_sub(self.file_offset_bytes);
        Self { len_bytes: self.len_bytes.min(available_bytes), ..*self }
    }

    /// What is left of it after its first bytes.
    pub(crate) fn after(&self, bytes: u64) -> Self {
        Self {
            file_index: self.file_index,
            file_offset_bytes: self.file_offset_bytes + bytes,
            buffer_offset_bytes: self.buffer_offset_bytes + bytes,
            len_bytes: self.len_bytes - bytes,
        }
    }
}

/// Checks the counts and the indices of a request.
///
/// # Errors
/// [`EngineError::BadArgument`].
pub(crate) fn check_counts(file_count: usize, segments: &[Segment]) -> Result<()> {
    let in_range = |argument, count: usize, limit: usize| {
        if count == 0 || count > limit {
            let problem = format!("has {count} elements, expected 1 to {limit}");
            return Err(EngineError::bad_argument(argument, problem));
        }
        Ok(())
    };
    in_range(Argument::Files, file_count, MAX_FILES)?;
    in_range(Argument::Segments, segments.len(), MAX_SEGMENTS)?;
    for (index, segment) in segments.iter().enumerate() {
        if segment.file_index >= file_count {
            return Err(EngineError::bad_argument(
                Argument::SegmentFile(index),
                format!("is {}, but files has {file_count} elements", segment.file_index),
            ));
        }
    }
    Ok(())
}

/// Works out each segment's length. `bytes_to_end` says how many bytes [`Length::ToEnd`] means.
///
/// # Errors
/// [`EngineError::BadArgument`] where an offset plus a length does not fit.
pub(crate) fn resolve(
    segments: &[Segment],
    bytes_to_end: impl Fn(&Segment) -> u64,
) -> Result<Vec<ResolvedSegment>> {
    segments
        .iter()
        .enumerate()
        .map(|(index, segment)| {
            let len_bytes = match segment.length {
                Length::Bytes(bytes) => bytes,
                Length::ToEnd => bytes_to_end(segment),
            };
            for (argument, offset) in [
                (Argument::SegmentFileOffset(index), segment.file_offset_bytes),
                (Argument::SegmentBufferOffset(index), segment.buffer_offset_bytes),
            ] {
                let end = offset.checked_add(len_bytes);
                if end.is_none_or(|end| i64::try_from(end).is_err()) {
                    return Err(EngineError::bad_argument(
                        argument,
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
pub(crate) fn check_buffer_ranges(segments: &[ResolvedSegment], buffer_bytes: u64) -> Result<()> {
    for (index, segment) in segments.iter().enumerate() {
        let end = segment.buffer_end_bytes();
        if end > buffer_bytes {
            return Err(EngineError::bad_argument(
                Argument::SegmentBufferOffset(index),
                format!("the segment ends at byte {end}, the buffer has {buffer_bytes}"),
            ));
        }
    }
    Ok(())
}

/// Checks that no two segments of a load write to the same byte of the buffer.
///
/// # Errors
/// [`EngineError::BadArgument`] naming the two segments.
pub(crate) fn check_targets_in_buffer(segments: &[ResolvedSegment]) -> Result<()> {
    check_no_overlap(segments, Argument::SegmentBufferOffset, |segment| {
        (0, segment.buffer_offset_bytes, segment.buffer_end_bytes())
    })
}

/// Checks that no two segments of a save write to the same byte of a file. `identities` tells which
/// files of the request are one and the same.
///
/// # Errors
/// As for [`check_targets_in_buffer`].
pub(crate) fn check_targets_in_files<I: PartialEq>(
    segments: &[ResolvedSegment],
    identities: &[I],
) -> Result<()> {
    let first_of = |index: usize| {
        let same = identities.iter().position(|identity| *identity == identities[index]);
        same.unwrap_or(index)
    };
    let files: Vec<usize> = (0..identities.len()).map(first_of).collect();
    check_no_overlap(segments, Argument::SegmentFileOffset, |segment| {
        (files[segment.file_index], segment.file_offset_bytes, segment.file_end_bytes())
    })
}

fn check_no_overlap(
    segments: &[ResolvedSegment],
    argument: impl Fn(usize) -> Argument,
    target: impl Fn(&ResolvedSegment) -> (usize, u64, u64),
) -> Result<()> {
    if segments.len() < 2 {
        return Ok(());
    }
    let not_empty = |index: &usize| segments[*index].len_bytes > 0;
    let mut order: Vec<usize> = (0..segments.len()).filter(not_empty).collect();
    order.sort_by_key(|index| target(&segments[*index]));
    for pair in order.windows(2) {
        let (earlier, later) = (target(&segments[pair[0]]), target(&segments[pair[1]]));
        if earlier.0 == later.0 && later.1 < earlier.2 {
            return Err(EngineError::bad_argument(
                argument(pair[1]),
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

    fn resolved(segments: &[Segment]) -> Vec<ResolvedSegment> {
        resolve(segments, |_| 0).unwrap()
    }

    fn argument_of(result: Result<()>) -> Argument {
        match result.unwrap_err() {
            EngineError::BadArgument { argument, .. } => argument,
            other => panic!("{other}"),
        }
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
        assert_eq!(argument_of(check_counts(1, &[bad])), Argument::SegmentFile(0));
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
        let touching =
            resolved(&[segment(0, Length::Bytes(10), 10), segment(0, Length::Bytes(10), 0)]);
        assert!(check_targets_in_buffer(&touching).is_ok());
        let overlapping =
            resolved(&[segment(0, Length::Bytes(10), 9), segment(0, Length::Bytes(10), 0)]);
        let error = check_targets_in_buffer(&overlapping);
        assert_eq!(argument_of(error), Argument::SegmentBufferOffset(0));
    }

    #[test]
    fn files_are_written_once_at_each_place() {
        let at = |file_index, file_offset_bytes| ResolvedSegment {
            file_index,
            file_offset_bytes,
            buffer_offset_bytes: 0,
            len_bytes: 10,
        };
        let check = |segments: &[ResolvedSegment]| check_targets_in_files(segments, &["a", "b"]);
        assert!(check(&[at(0, 0), at(1, 5), at(0, 10)]).is_ok());
        let error = check(&[at(0, 0), at(1, 5), at(0, 9)]);
        assert_eq!(argument_of(error), Argument::SegmentFileOffset(2));
        let error = check_targets_in_files(&[at(0, 0), at(1, 5)], &["a", "a"]);
        assert_eq!(argument_of(error), Argument::SegmentFileOffset(1), "one file passed twice");
    }

    #[test]
    fn empty_segments_overlap_nothing() {
        let inside = resolved(&[segment(0, Length::Bytes(10), 0), segment(0, Length::Bytes(0), 5)]);
        assert!(check_targets_in_buffer(&inside).is_ok());
    }

    #[test]
    fn a_segment_past_the_buffer_is_named() {
        let segments = resolved(&[segment(0, Length::Bytes(4097), 0)]);
        assert!(check_buffer_ranges(&segments, 4097).is_ok());
        let error = check_buffer_ranges(&segments, 4096);
        assert_eq!(argument_of(error), Argument::SegmentBufferOffset(0));
    }
}
