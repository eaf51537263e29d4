// SPDX-License-Identifier: Apache-2.0
//! The contiguous ranges that a request's segments make up. Pure.

use super::segment::ResolvedSegment;

/// Segments that follow each other in the file as well as in the buffer: one range to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// All of it.
    pub range: ResolvedSegment,
    /// Its segments, by their index in the request, in the order of their places.
    pub segments: Vec<usize>,
}

impl Extent {
    /// The segment by which errors name it: the first in the request.
    pub(crate) fn first_segment(&self) -> usize {
        self.segments.iter().min().copied().unwrap_or_default()
    }
}

/// Joins adjacent segments, whatever their order in the request. The result is in the order of the
/// files and of the places in them.
pub(crate) fn merge_adjacent(segments: &[ResolvedSegment]) -> Vec<Extent> {
    let mut order: Vec<usize> = (0..segments.len()).collect();
    order.sort_by_key(|index| (segments[*index].file_index, segments[*index].file_offset_bytes));
    let mut extents: Vec<Extent> = Vec::with_capacity(1);
    for index in order {
        let next = segments[index];
        match extents.last_mut() {
            Some(extent) if continues(&extent.range, &next) => {
                extent.range.len_bytes += next.len_bytes;
                extent.segments.push(index);
            }
            _ => extents.push(Extent { range: next, segments: vec![index] }),
        }
    }
    extents
}

fn continues(range: &ResolvedSegment, next: &ResolvedSegment) -> bool {
    range.file_index == next.file_index
        && range.file_end_bytes() == next.file_offset_bytes
        && range.buffer_end_bytes() == next.buffer_offset_bytes
}

/// How many bytes segments have together: of a load, whose segments do not overlap in the buffer,
/// those that it overwrites. A save to several files may have more than a `u64` holds.
pub(crate) fn covered_bytes(segments: &[ResolvedSegment]) -> u64 {
    segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.len_bytes))
}

/// Offset and length, in bytes, of what each segment has filled.
pub(crate) fn filled_ranges<'a>(
    segments: &'a [ResolvedSegment],
    segment_bytes: &'a [u64],
) -> impl Iterator<Item = (u64, u64)> + 'a {
    let filled = |(segment, bytes): (&ResolvedSegment, &u64)| (segment.buffer_offset_bytes, *bytes);
    segments.iter().zip(segment_bytes).map(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(file_index: usize, place: u64, buffer: u64, len_bytes: u64) -> ResolvedSegment {
        ResolvedSegment {
            file_index,
            file_offset_bytes: place,
            buffer_offset_bytes: buffer,
            len_bytes,
        }
    }

    fn merged(segments: &[ResolvedSegment]) -> Vec<(ResolvedSegment, Vec<usize>)> {
        merge_adjacent(segments).into_iter().map(|e| (e.range, e.segments)).collect()
    }

    #[test]
    fn neighbours_in_file_and_buffer_become_one_extent() {
        let segments = [segment(0, 10, 110, 5), segment(0, 0, 100, 10), segment(0, 15, 115, 1)];
        assert_eq!(merged(&segments), [(segment(0, 0, 100, 16), vec![1, 0, 2])]);
    }

    #[test]
    fn what_is_apart_in_either_stays_apart() {
        let apart = [
            segment(0, 0, 0, 10),
            segment(0, 10, 11, 10),
            segment(0, 21, 21, 10),
            segment(1, 31, 31, 10),
        ];
        assert_eq!(merged(&apart).len(), 4);
    }

    #[test]
    fn a_sum_that_does_not_fit_is_the_largest_number() {
        let largest = i64::MAX as u64;
        let files: Vec<ResolvedSegment> = (0..3).map(|file| segment(file, 0, 0, largest)).collect();
        assert_eq!(covered_bytes(&files[..2]), 2 * largest);
        assert_eq!(covered_bytes(&files), u64::MAX);
    }

    #[test]
    fn an_extent_is_named_by_its_first_segment() {
        let segments = [segment(0, 10, 110, 5), segment(0, 0, 100, 10)];
        assert_eq!(merge_adjacent(&segments)[0].first_segment(), 0);
    }
}
