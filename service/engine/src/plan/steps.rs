// SPDX-License-Identifier: Apache-2.0
//! The steps of a request: extents with their candidates, and which extents are read together.

use super::candidates::{candidates, Candidate};
use super::facts::{BufferFacts, RequestFacts};
use crate::error::Result;
use crate::io_path::{Direction, IoPath, NotTaken};
use crate::request::{Extent, ResolvedSegment};

/// Extents up to this size are read together with their neighbours: a read of its own costs more
/// than so many bytes.
const SMALL_BYTES: u64 = 64 << 10;

/// The most bytes between two extents that are read and thrown away.
const MAX_GAP_BYTES: u64 = 64 << 10;

/// The most bytes of a file, from the first to the last byte, that are read together.
pub(crate) const MAX_COALESCED_BYTES: u64 = 1 << 20;

/// An extent and the paths that may move it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedExtent {
    pub(crate) extent: Extent,
    /// The paths to try, in order; at least one.
    pub(crate) candidates: Vec<Candidate>,
    /// The cheaper paths that are ruled out.
    pub(crate) not_taken: Vec<NotTaken>,
}

impl PlannedExtent {
    /// The path that is tried first.
    pub(crate) fn path(&self) -> Option<IoPath> {
        self.candidates.first().map(|candidate| candidate.path)
    }
}

/// What is moved at a time: one extent, or several small ones that lie close together in one file
/// and are read by one direct read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// In the order of their places in the file; at least one.
    pub(crate) extents: Vec<PlannedExtent>,
}

/// Plans every extent, in the order in which they are moved.
///
/// # Errors
/// Where an extent has no candidate.
pub(super) fn steps(
    request: &RequestFacts<'_>,
    extents: &[Extent],
    buffer: &BufferFacts,
) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::with_capacity(extents.len());
    let mut coalesced = Coalesced::default();
    for extent in extents {
        let facts = request.of(extent.range, buffer);
        let (candidates, not_taken) = candidates(extent.first_segment(), &facts)?;
        let planned = PlannedExtent { extent: extent.clone(), candidates, not_taken };
        let together = request.direction == Direction::Load && coalesced.takes(&planned);
        match steps.last_mut() {
            Some(step) if together => step.extents.push(planned),
            _ => steps.push(Step { extents: vec![planned] }),
        }
    }
    Ok(steps)
}

/// The place in a file that the extents of the last step cover.
#[derive(Default)]
struct Coalesced {
    /// File, first byte, and the byte after the last; `None` where the step takes no other extent.
    span: Option<(usize, u64, u64)>,
}

impl Coalesced {
    /// Whether an extent, whose file offset is not below those before it, belongs to the last step.
    /// If not, it begins the next one.
    ///
    /// Extents may nest and overlap in the file, so that the one that ends furthest need not be the
    /// last one.
    fn takes(&mut self, next: &PlannedExtent) -> bool {
        let range: &ResolvedSegment = &next.extent.range;
        if range.len_bytes > SMALL_BYTES || next.path() != Some(IoPath::Bounce) {
            self.span = None;
            return false;
        }
        let (start, end) = (range.file_offset_bytes, range.file_end_bytes());
        let joined = self.span.and_then(|(file_index, first, reached)| {
            let reaches = reached.max(end);
            let fits = file_index == range.file_index
                && start.saturating_sub(reached) <= MAX_GAP_BYTES
                && reaches - first <= MAX_COALESCED_BYTES;
            fits.then_some((file_index, first, reaches))
        });
        self.span = Some(joined.unwrap_or((range.file_index, start, end)));
        joined.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::division::Division;

    fn range(file_index: usize, file_offset_bytes: u64, len_bytes: u64) -> PlannedExtent {
        let range =
            ResolvedSegment { file_index, file_offset_bytes, buffer_offset_bytes: 0, len_bytes };
        let division = Division { head_bytes: 0, body_bytes: len_bytes, tail_bytes: 0 };
        PlannedExtent {
            extent: Extent { range, segments: vec![0] },
            candidates: vec![Candidate { path: IoPath::Bounce, division }],
            not_taken: Vec::new(),
        }
    }

    fn taken(ranges: &[PlannedExtent]) -> Vec<bool> {
        let mut coalesced = Coalesced::default();
        ranges.iter().map(|range| coalesced.takes(range)).collect()
    }

    #[test]
    fn small_neighbours_belong_together() {
        let ranges = [range(0, 1000, 100), range(0, 1100, 100), range(0, 60_000, 100)];
        assert_eq!(taken(&ranges), [false, true, true]);
    }

    #[test]
    fn large_or_distant_ranges_and_other_files_do_not() {
        let first = || range(0, 1000, 100);
        for next in [
            range(1, 1100, 100),
            range(0, 1100, SMALL_BYTES + 1),
            range(0, 1100 + MAX_GAP_BYTES + 1, 100),
        ] {
            assert_eq!(taken(&[first(), next.clone()]), [false, false], "{next:?}");
        }
        let large = range(0, 2000, SMALL_BYTES + 1);
        assert_eq!(taken(&[first(), large, range(0, 80_000, 1)]), [false; 3]);
        let mut direct = range(0, 1100, 100);
        direct.candidates[0].path = IoPath::CopyFileRangeDirect;
        assert_eq!(taken(&[first(), direct, range(0, 1200, 100)]), [false; 3]);
    }

    #[test]
    fn a_step_spans_no_more_than_one_read() {
        let step = MAX_GAP_BYTES;
        let ranges: Vec<PlannedExtent> = (0..20).map(|index| range(0, index * step, 100)).collect();
        let taken = taken(&ranges);
        let first_of_second = taken.iter().skip(1).position(|taken| !taken).unwrap() + 1;
        let last = &ranges[first_of_second - 1].extent.range;
        assert!(last.file_end_bytes() <= MAX_COALESCED_BYTES);
        assert!(last.file_end_bytes() + step > MAX_COALESCED_BYTES);
    }

    #[test]
    fn the_extent_that_ends_furthest_sets_the_gap() {
        // The second one is nested in the first; the third is near the end of the first only.
        let ranges = [range(0, 0, 60_000), range(0, 100, 100), range(0, 66_000, 100)];
        assert_eq!(taken(&ranges), [false, true, true]);
    }
}
