// SPDX-License-Identifier: Apache-2.0
//! Several small ranges that lie close together in a file, loaded by one direct read into a bounce
//! buffer. Ranges may nest and overlap in the file.

use std::ops::Range;

use dmabuf_uapi::mapping::Mapping;

use super::bounce::read_blocks;
use super::bounce_memory::SLOT_BYTES;
use super::range_copy::{is_refusal, IoResources};
use crate::buffer::CpuView;
use crate::context::Context;
use crate::error::{EngineError, Result};
use crate::file::OpenFile;
use crate::operation::Operation;
use crate::plan::MAX_COALESCED_BYTES;
use crate::request::ResolvedSegment;

/// The most of the buffer that is mapped at once for the ranges of one read.
const MAX_WINDOW_BYTES: u64 = 64 << 20;

// The first range may begin anywhere in its block, and the last may end anywhere in its.
const _: () = assert!(MAX_COALESCED_BYTES <= SLOT_BYTES / 2);

/// Loads ranges of one file that a plan has put together. Returns the bytes of each, fewer where
/// the file has ended; `None` where the kernel refuses direct I/O.
///
/// # Errors
/// [`EngineError::Io`]; those of the request's context.
pub(crate) fn load(
    file: &OpenFile,
    ranges: &[ResolvedSegment],
    buffer: &CpuView<'_>,
    resources: &IoResources,
    context: &Context,
) -> Result<Option<Vec<u64>>> {
    let (Some(fd), Some(Range { start, end })) = (file.direct_fd(), span_in_file(ranges)) else {
        return Ok(None);
    };
    let align = u64::from(file.facts().offset_align_bytes());
    let start = start - start % align;
    let end = end.next_multiple_of(align);
    let memory = resources.bounce_memory.take(end - start, 1)?;
    let batch = context.begin_batch(end - start)?;
    let reached = match read_blocks(&memory, 0, fd, start..end, align) {
        Ok(reached) => reached,
        Err(errno) if is_refusal(errno) => return Ok(None),
        Err(errno) => return Err(EngineError::io(Operation::ReadFileDirectly, errno)),
    };
    drop(batch);
    let loaded: Vec<ResolvedSegment> =
        ranges.iter().map(|range| range.cut_at_file_offset(reached)).collect();
    copy_out(&memory, start, &loaded, buffer)?;
    Ok(Some(loaded.iter().map(|range| range.len_bytes).collect()))
}

/// From the first to the last byte in the file that the ranges have.
fn span_in_file(ranges: &[ResolvedSegment]) -> Option<Range<u64>> {
    let start = ranges.iter().map(|range| range.file_offset_bytes).min()?;
    let end = ranges.iter().map(ResolvedSegment::file_end_bytes).max()?;
    Some(start..end)
}

/// Copies ranges of the file, which `memory` holds from `start` on, to their places.
fn copy_out(
    memory: &Mapping,
    start: u64,
    ranges: &[ResolvedSegment],
    buffer: &CpuView<'_>,
) -> Result<()> {
    let places = span_in_buffer(ranges);
    if places.end - places.start > MAX_WINDOW_BYTES && ranges.len() > 1 {
        return ranges.iter().try_for_each(|range| copy_out(memory, start, &[*range], buffer));
    }
    if places.is_empty() {
        return Ok(());
    }
    let window = buffer.window(places.start, places.end - places.start)?;
    for range in ranges.iter().filter(|range| range.len_bytes > 0) {
        let (to, from) =
            (range.buffer_offset_bytes - places.start, range.file_offset_bytes - start);
        window
            .copy_from(to, memory, from as usize, range.len_bytes)
            .map_err(|errno| EngineError::io(Operation::CopyIntoBuffer, errno))?;
    }
    Ok(())
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

    fn range(file_offset_bytes: u64, len_bytes: u64) -> ResolvedSegment {
        ResolvedSegment { file_index: 0, file_offset_bytes, buffer_offset_bytes: 0, len_bytes }
    }

    #[test]
    fn the_read_reaches_the_range_that_ends_furthest() {
        assert_eq!(span_in_file(&[range(0, 20_000), range(100, 100)]), Some(0..20_000));
        assert_eq!(span_in_file(&[range(7, 1), range(7, 0), range(9, 5)]), Some(7..14));
        assert_eq!(span_in_file(&[]), None);
    }
}
