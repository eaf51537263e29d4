// SPDX-License-Identifier: Apache-2.0
//! The part of a segment that direct I/O can move, and the edges it cannot.

use super::{Direction, Reason, Refusal, SegmentFacts, Split};
use crate::file::{DirectIo, FileFacts};

/// What takes the last block of a load where the segment ends inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadTail {
    /// The way itself.
    InBody,
    /// An edge: the way would overwrite what lies behind the segment.
    Edge,
}

/// Whether the memory that is read into or written from is the buffer's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Yes, so that its offset has to be aligned, too.
    Buffer,
    /// No, it is an aligned bounce buffer.
    Bounce,
}

/// The alignment of memory and of file offset, in bytes, or why there is no direct I/O on this file.
pub(super) fn direct_align(file: &FileFacts) -> Result<(u64, u64), Refusal> {
    match &file.direct {
        DirectIo::Possible { memory_align_bytes, offset_align_bytes } => {
            Ok((u64::from(*memory_align_bytes), u64::from(*offset_align_bytes)))
        }
        DirectIo::NotOnThisFile(detail) => Err(Refusal::new(Reason::FileNotDirect, detail.clone())),
        DirectIo::OpenedBuffered(detail) => {
            Err(Refusal::new(Reason::FileOpenedBuffered, detail.clone()))
        }
        DirectIo::ReopeningCostsMore => Err(Refusal::new(
            Reason::ReopeningCostsMore,
            "the file is opened without O_DIRECT, and so few bytes do not pay for reopening it",
        )),
    }
}

/// Finds the part of a segment that is aligned on both sides.
pub(super) fn split_aligned(
    facts: &SegmentFacts<'_>,
    memory: Memory,
    load_tail: LoadTail,
) -> Result<Split, Refusal> {
    let (memory_align, offset_align) = direct_align(facts.file)?;
    let segment = facts.segment;
    let (start, end) = (segment.file_offset_bytes, segment.file_end_bytes());
    let body_start = start.next_multiple_of(offset_align).min(end);
    let head_bytes = body_start - start;
    let body_in_buffer = segment.buffer_offset_bytes + head_bytes;
    let misplaced = memory == Memory::Buffer && body_in_buffer % memory_align != 0;
    if body_start < end && misplaced {
        return Err(Refusal::new(
            Reason::Unaligned,
            format!(
                "file offset {start} and buffer offset {} are not the same modulo {}",
                segment.buffer_offset_bytes,
                memory_align.max(offset_align)
            ),
        ));
    }
    let last_whole_block = (end - end % offset_align).max(body_start);
    let body_end = match (facts.direction, load_tail) {
        (Direction::Load, LoadTail::InBody) => end,
        (Direction::Load, LoadTail::Edge) | (Direction::Save, _) => last_whole_block,
    };
    let split = Split { head_bytes, body_bytes: body_end - body_start, tail_bytes: end - body_end };
    let has_edges = split.head_bytes + split.tail_bytes > 0;
    if facts.direction == Direction::Save && has_edges && !facts.file.has_buffered_fd {
        return Err(Refusal::new(
            Reason::Unaligned,
            format!("a file opened with O_DIRECT takes only multiples of {offset_align} bytes"),
        ));
    }
    Ok(split)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ResolvedSegment;

    const SIZE_BYTES: u64 = 10_000;

    fn split_in(
        memory: Memory,
        load_tail: LoadTail,
        facts: (Direction, u64, u64, u64, bool),
    ) -> Result<(u64, u64, u64), Reason> {
        let (direction, file_offset_bytes, buffer_offset_bytes, len_bytes, has_buffered_fd) = facts;
        let file = FileFacts {
            size_bytes: SIZE_BYTES,
            has_buffered_fd,
            direct: DirectIo::Possible { memory_align_bytes: 512, offset_align_bytes: 4096 },
        };
        let segment =
            ResolvedSegment { file_index: 0, file_offset_bytes, buffer_offset_bytes, len_bytes };
        let facts = SegmentFacts { direction, file: &file, segment, buffer_is_backed: false };
        split_aligned(&facts, memory, load_tail)
            .map(|split| (split.head_bytes, split.body_bytes, split.tail_bytes))
            .map_err(|refusal| refusal.reason)
    }

    fn split(
        direction: Direction,
        file_offset_bytes: u64,
        buffer_offset_bytes: u64,
        len_bytes: u64,
        has_buffered_fd: bool,
    ) -> Result<(u64, u64, u64), Reason> {
        let facts = (direction, file_offset_bytes, buffer_offset_bytes, len_bytes, has_buffered_fd);
        split_in(Memory::Buffer, LoadTail::InBody, facts)
    }

    #[test]
    fn a_whole_file_of_any_size_is_all_body() {
        assert_eq!(split(Direction::Load, 0, 0, SIZE_BYTES, false), Ok((0, SIZE_BYTES, 0)));
        assert_eq!(split(Direction::Load, 4096, 0, 200, false), Ok((0, 200, 0)));
    }

    #[test]
    fn a_load_that_may_not_touch_what_follows_has_a_tail() {
        let facts = (Direction::Load, 100, 100, 9000, false);
        let split = split_in(Memory::Buffer, LoadTail::Edge, facts);
        assert_eq!(split, Ok((3996, 4096, 908)));
    }

    #[test]
    fn an_unaligned_load_has_a_head() {
        assert_eq!(split(Direction::Load, 100, 100, 9000, false), Ok((3996, 5004, 0)));
    }

    #[test]
    fn a_range_inside_one_block_is_all_head() {
        assert_eq!(split(Direction::Load, 100, 7, 200, false), Ok((200, 0, 0)));
    }

    #[test]
    fn offsets_that_differ_modulo_the_alignment_are_refused() {
        assert_eq!(split(Direction::Load, 0, 1, 8192, false), Err(Reason::Unaligned));
        assert_eq!(split(Direction::Load, 0, 512, 8192, false), Ok((0, 8192, 0)));
    }

    #[test]
    fn a_bounce_buffer_is_aligned_whatever_the_offset_in_the_buffer() {
        let facts = (Direction::Save, 0, 1, 8192, false);
        assert_eq!(split_in(Memory::Bounce, LoadTail::InBody, facts), Ok((0, 8192, 0)));
    }

    #[test]
    fn an_unaligned_save_has_edges_and_needs_a_buffered_fd_for_them() {
        assert_eq!(split(Direction::Save, 0, 0, 4097, false), Err(Reason::Unaligned));
        assert_eq!(split(Direction::Save, 0, 0, 4097, true), Ok((0, 4096, 1)));
        assert_eq!(split(Direction::Save, 4096, 0, 200, true), Ok((0, 0, 200)));
        assert_eq!(split(Direction::Save, 100, 100, 9000, true), Ok((3996, 4096, 908)));
    }

    #[test]
    fn an_empty_range_is_empty() {
        assert_eq!(split(Direction::Load, 5, 3, 0, false), Ok((0, 0, 0)));
    }

    /// The split covers the range exactly and its body is aligned, whatever the numbers.
    #[test]
    fn splits_cover_the_range_and_bodies_are_aligned() {
        for file_offset in (0..SIZE_BYTES).step_by(257) {
            for len in [0, 1, 511, 512, 4095, 4096, 4097, 8192, SIZE_BYTES - file_offset] {
                let len = len.min(SIZE_BYTES - file_offset);
                for buffer_offset in [0, 1, 512, file_offset % 4096, 4096] {
                    for (direction, load_tail) in [
                        (Direction::Load, LoadTail::InBody),
                        (Direction::Load, LoadTail::Edge),
                        (Direction::Save, LoadTail::Edge),
                    ] {
                        let facts = (direction, file_offset, buffer_offset, len, true);
                        let Ok((head, body, tail)) = split_in(Memory::Buffer, load_tail, facts)
                        else {
                            continue;
                        };
                        assert_eq!(head + body + tail, len);
                        if body > 0 {
                            assert_eq!((file_offset + head) % 4096, 0);
                            assert_eq!((buffer_offset + head) % 512, 0);
                        }
                        if load_tail == LoadTail::Edge {
                            assert_eq!(body % 4096, 0);
                        }
                    }
                }
            }
        }
    }
}
