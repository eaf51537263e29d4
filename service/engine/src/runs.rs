// SPDX-License-Identifier: Apache-2.0
//! The ranges that a request's segments come to. Pure.

use smallvec::{smallvec, SmallVec};

use crate::request::ResolvedSegment;

/// Segments that follow each other in the file as well as in the buffer: one range to move.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) range: ResolvedSegment,
    /// The segments, in the order of their places.
    pub(crate) indices: SmallVec<[usize; 1]>,
}

impl Run {
    /// How errors name it: by the first of its segments in the request.
    pub(crate) fn argument(&self) -> String {
        format!("segments[{}]", self.indices.iter().min().copied().unwrap_or_default())
    }
}

/// The ranges of a request, in the order in which they are moved.
pub(crate) type Runs = SmallVec<[Run; 1]>;

/// Joins adjacent segments, whatever their order in the request.
pub(crate) fn merge_adjacent(segments: &[ResolvedSegment]) -> Runs {
    if let [only] = segments {
        return smallvec![Run { range: *only, indices: smallvec![0] }];
    }
    let mut order: Vec<usize> = (0..segments.len()).collect();
    order.sort_by_key(|index| (segments[*index].file_index, segments[*index].file_offset_bytes));
    let mut runs = Runs::new();
    for index in order {
        let next = segments[index];
        match runs.last_mut() {
            Some(run) if continues(&run.range, &next) => {
                run.range.len_bytes += next.len_bytes;
                run.indices.push(index);
            }
            _ => runs.push(Run { range: next, indices: smallvec![index] }),
        }
    }
    runs
}

fn continues(range: &ResolvedSegment, next: &ResolvedSegment) -> bool {
    range.file_index == next.file_index
        && range.file_end_bytes() == next.file_offset_bytes
        && range.buffer_end_bytes() == next.buffer_offset_bytes
}

/// How many bytes of the buffer segments that do not overlap overwrite.
pub(crate) fn covered_bytes(segments: &[ResolvedSegment]) -> u64 {
    segments.iter().map(|segment| segment.len_bytes).sum()
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
        merge_adjacent(segments).into_iter().map(|run| (run.range, run.indices.to_vec())).collect()
    }

    #[test]
    fn neighbours_in_file_and_buffer_become_one_run() {
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
    fn a_run_is_named_by_its_first_segment_in_the_request() {
        let segments = [segment(0, 10, 110, 5), segment(0, 0, 100, 10)];
        assert_eq!(merge_adjacent(&segments)[0].argument(), "segments[0]");
    }
}
