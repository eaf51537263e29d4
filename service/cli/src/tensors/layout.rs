// SPDX-License-Identifier: Apache-2.0
//! Where the tensors of a file lie in one buffer, and the segments that load them there.

use std::ops::Range;

use anyhow::{ensure, Context};

use super::tensor::Tensor;
use crate::segment::SegmentSpec;

/// How far a buffer's start and the file's must agree for direct I/O: the largest block of any
/// file system.
const BLOCK_BYTES: u64 = 16 << 10;

/// Bytes between two tensors that cost less to load than a segment of its own.
const MAX_GAP_BYTES: u64 = 4096;

/// Where tensors begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// At multiples of a power of two.
    To(u64),
    /// As far from each other, and from the start of a block, as in the file.
    AsInFile,
}

/// The places of tensors in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// The range of each tensor, in the order of the tensors.
    pub ranges: Vec<Range<u64>>,
    /// How many bytes the buffer needs.
    pub buffer_bytes: u64,
    /// What to load, in ascending order. Tensors that are as far from each other in the file as in
    /// the buffer are in one segment.
    pub segments: Vec<SegmentSpec>,
}

impl Layout {
    /// Places tensors, which come in the order of their bytes in the file and do not overlap.
    pub fn of(tensors: &[Tensor], align: Align) -> anyhow::Result<Self> {
        let first = tensors.first().map_or(0, |tensor| tensor.file_range.start);
        let file_base = first - first % BLOCK_BYTES;
        let (mut end, mut ranges) = (0_u64, Vec::new());
        let mut segments: Vec<SegmentSpec> = Vec::new();
        for tensor in tensors {
            let start = match align {
                Align::To(bytes) => end.checked_next_multiple_of(bytes),
                Align::AsInFile => Some(tensor.file_range.start - file_base),
            };
            let range = start
                .and_then(|start| Some(start..start.checked_add(tensor.bytes())?))
                .filter(|range| i64::try_from(range.end).is_ok())
                .with_context(|| format!("tensor {:?} ends beyond any buffer", tensor.name))?;
            end = range.end;
            if !range.is_empty() {
                add(&mut segments, &tensor.file_range, &range);
            }
            ranges.push(range);
        }
        ensure!(!segments.is_empty(), "has no tensor with bytes to load");
        Ok(Self { ranges, buffer_bytes: end, segments })
    }
}

fn add(segments: &mut Vec<SegmentSpec>, file: &Range<u64>, buffer: &Range<u64>) {
    if let Some(SegmentSpec {
        file_offset_bytes,
        length_bytes: Some(length),
        buffer_offset_bytes,
    }) = segments.last_mut()
    {
        let gap = file.start - (*file_offset_bytes + *length);
        let same_distance = file.start - *file_offset_bytes == buffer.start - *buffer_offset_bytes;
        if same_distance && gap < MAX_GAP_BYTES {
            *length = file.end - *file_offset_bytes;
            return;
        }
    }
    segments.push(SegmentSpec {
        file_offset_bytes: file.start,
        length_bytes: Some(file.end - file.start),
        buffer_offset_bytes: buffer.start,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(ranges: &[Range<u64>]) -> Vec<Tensor> {
        let tensor = |range: &Range<u64>| Tensor {
            name: format!("{range:?}"),
            dtype: "U8".to_owned(),
            shape: vec![range.end - range.start],
            file_range: range.clone(),
        };
        ranges.iter().map(tensor).collect()
    }

    /// File offset, length and buffer offset of each segment.
    fn segments(layout: &Layout) -> Vec<(u64, u64, u64)> {
        let parts = |segment: &SegmentSpec| {
            let SegmentSpec { file_offset_bytes, length_bytes, buffer_offset_bytes } = *segment;
            (file_offset_bytes, length_bytes.unwrap(), buffer_offset_bytes)
        };
        layout.segments.iter().map(parts).collect()
    }

    #[test]
    fn tensors_begin_at_multiples_of_the_alignment() {
        let layout = Layout::of(&tensors(&[100..110, 110..200, 200..201]), Align::To(64)).unwrap();
        assert_eq!(layout.ranges, [0..10, 64..154, 192..193]);
        assert_eq!(layout.buffer_bytes, 193);
        assert_eq!(segments(&layout), [(100, 10, 0), (110, 90, 64), (200, 1, 192)]);
    }

    #[test]
    fn neighbours_in_file_and_buffer_are_one_segment() {
        let layout = Layout::of(&tensors(&[8..72, 72..136, 136..137]), Align::To(64)).unwrap();
        assert_eq!(segments(&layout), [(8, 129, 0)]);
        // The gap of the file is that of the buffer.
        let layout = Layout::of(&tensors(&[32..40, 64..96]), Align::To(32)).unwrap();
        assert_eq!((segments(&layout), &layout.ranges[1]), (vec![(32, 64, 0)], &(32..64)));
        let far = MAX_GAP_BYTES + 8;
        let layout = Layout::of(&tensors(&[0..8, far..far + 8]), Align::AsInFile).unwrap();
        assert_eq!(layout.segments.len(), 2);
    }

    #[test]
    fn places_as_in_the_file_keep_the_block_offset() {
        let start = 3 * BLOCK_BYTES + 520;
        let ranges = [start..start + 8, start + 8..start + 9, start + 9..start + 100];
        let layout = Layout::of(&tensors(&ranges), Align::AsInFile).unwrap();
        assert_eq!(layout.ranges, [520..528, 528..529, 529..620]);
        assert_eq!(segments(&layout), [(start, 100, 520)]);
        assert_eq!(layout.buffer_bytes, 620);
    }

    #[test]
    fn empty_tensors_have_a_place_and_no_segment() {
        let layout = Layout::of(&tensors(&[8..8, 8..16, 16..16]), Align::To(64)).unwrap();
        assert_eq!(layout.ranges, [0..0, 0..8, 64..64]);
        assert_eq!(segments(&layout), [(8, 8, 0)]);
        for none in [&[][..], &[0..0, 0..0]] {
            let error = Layout::of(&tensors(none), Align::To(1)).unwrap_err();
            assert!(error.to_string().contains("no tensor"), "{error}");
        }
    }

    #[test]
    fn a_layout_beyond_any_buffer_is_an_error() {
        let huge = 1 << 62;
        let ranges = [0..1, 1..2, 2..3];
        assert!(Layout::of(&tensors(&ranges), Align::To(huge)).is_err());
        let ends = [0..1, 1..u64::MAX];
        let error = Layout::of(&tensors(&ends), Align::To(1)).unwrap_err();
        assert!(error.to_string().contains("beyond any buffer"), "{error}");
    }
}
