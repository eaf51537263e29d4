// SPDX-License-Identifier: Apache-2.0
//! Many small ranges that lie close together in a file, loaded with one direct read into a bounce buffer.

use std::ops::Range;

use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapping::Mapping;

use super::bounce::read_blocks;
use super::bounce_memory::{BounceMemory, SLOT_BYTES};
use super::is_refusal;
use crate::buffer::BufferView;
use crate::error::{EngineError, Result};
use crate::file::OpenFile;
use crate::request::ResolvedSegment;

/// Ranges up to this size are read together with their neighbours: a read of its own costs more than so many bytes.
const SMALL_BYTES: u64 = 64 << 10;

/// The most bytes between two ranges that are read and thrown away.
const MAX_GAP_BYTES: u64 = 64 << 10;

/// The most of the buffer that is mapped at once for the ranges of one read.
const MAX_WINDOW_BYTES: u64 = 64 << 20;

/// Whether `next`, which lies behind `last` in the same file, should be read together with it, in a read that begins with
/// `first`.
pub(crate) fn belongs_to(
    first: &ResolvedSegment,
    last: &ResolvedSegment,
    next: &ResolvedSegment,
) -> bool {
    let is_small = |range: &ResolvedSegment| range.len_bytes <= SMALL_BYTES;
    let gap_bytes = next.file_offset_bytes.saturating_sub(last.file_end_bytes());
    // A block less than a bounce buffer holds, as the first range may begin anywhere in its block.
    let span_bytes = next.file_end_bytes().saturating_sub(first.file_offset_bytes);
    first.file_index == next.file_index
        && is_small(last)
        && is_small(next)
        && gap_bytes <= MAX_GAP_BYTES
        && span_bytes <= SLOT_BYTES / 2
}

/// Loads ranges of one file, in the order of the file, that [`belongs_to`] has put together. Returns the bytes of each,
/// fewer where the file has ended; `None` where the kernel refuses direct I/O.
///
/// # Errors
/// [`EngineError::Io`].
pub(crate) fn load(
    file: &OpenFile<'_>,
    ranges: &[ResolvedSegment],
    buffer: &BufferView<'_>,
) -> Result<Option<Vec<u64>>> {
    let (Some(fd), Some(first), Some(last)) = (file.direct_fd(), ranges.first(), ranges.last())
    else {
        return Ok(None);
    };
    let align = u64::from(file.facts().offset_align_bytes());
    let start = first.file_offset_bytes - first.file_offset_bytes % align;
    let end = last.file_end_bytes().next_multiple_of(align);
    let memory = BounceMemory::new(end - start, 1)?;
    let reached = match read_blocks(&memory, 0, fd, start..end, align) {
        Ok(reached) => reached,
        Err(errno) if is_refusal(errno) => return Ok(None),
        Err(errno) => return Err(EngineError::io("read the file directly", errno)),
    };
    let loaded: Vec<ResolvedSegment> = ranges
        .iter()
        .map(|range| {
            let available = reached.saturating_sub(range.file_offset_bytes);
            ResolvedSegment { len_bytes: range.len_bytes.min(available), ..*range }
        })
        .collect();
    copy_out(&memory, start, &loaded, buffer)?;
    Ok(Some(loaded.iter().map(|range| range.len_bytes).collect()))
}

/// Copies ranges of the file, which `memory` holds from `start` on, to their places.
fn copy_out(
    memory: &Mapping,
    start: u64,
    ranges: &[ResolvedSegment],
    buffer: &BufferView<'_>,
) -> Result<()> {
    let places = span_in_buffer(ranges);
    if places.end - places.start > MAX_WINDOW_BYTES && ranges.len() > 1 {
        return ranges.iter().try_for_each(|range| copy_out(memory, start, &[*range], buffer));
    }
    if places.is_empty() {
        return Ok(());
    }
    let window = buffer.map(places.start, places.end - places.start, CpuAccess::WRITE)?;
    for range in ranges.iter().filter(|range| range.len_bytes > 0) {
        let (to, from) =
            (range.buffer_offset_bytes - places.start, range.file_offset_bytes - start);
        window
            .copy_in(to, memory, from as usize, range.len_bytes)
            .map_err(|errno| EngineError::io("copy into the buffer", errno))?;
    }
    window.finish()
}

/// From the first to the last byte in the buffer that the ranges have.
fn span_in_buffer(ranges: &[ResolvedSegment]) -> Range<u64> {
    let filled = || ranges.iter().filter(|range| range.len_bytes > 0);
    let start = filled().map(|range| range.buffer_offset_bytes).min().unwrap_or(0);
    start..filled().map(ResolvedSegment::buffer_end_bytes).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(file_index: usize, file_offset_bytes: u64, len_bytes: u64) -> ResolvedSegment {
        ResolvedSegment { file_index, file_offset_bytes, buffer_offset_bytes: 0, len_bytes }
    }

    #[test]
    fn small_neighbours_belong_together() {
        let first = range(0, 1000, 100);
        assert!(belongs_to(&first, &first, &range(0, 1100, 100)));
        assert!(belongs_to(&first, &range(0, 9000, 10), &range(0, 60_000, 100)));
    }

    #[test]
    fn large_or_distant_ranges_and_other_files_do_not() {
        let first = range(0, 1000, 100);
        for next in [
            range(1, 1100, 100),
            range(0, 1100, SMALL_BYTES + 1),
            range(0, 1100 + MAX_GAP_BYTES + 1, 100),
            range(0, 1000 + SLOT_BYTES / 2, 100),
        ] {
            assert!(!belongs_to(&first, &first, &next), "{next:?}");
        }
        assert!(!belongs_to(&first, &range(0, 2000, SMALL_BYTES + 1), &range(0, 80_000, 1)));
    }
}
