// SPDX-License-Identifier: Apache-2.0
//! How a path divides a range: the unaligned head and tail, which go through the CPU, and the body
//! between them.

use crate::file::{DirectIo, FileFacts};
use crate::io_path::{Direction, IoPath, Refusal};
use crate::request::ResolvedSegment;

/// The parts of a range. Lengths in bytes.
///
/// With `copy_file_range(2)` a load has no tail: the kernel reads the last block aside and copies
/// only what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    /// Before the first aligned byte.
    pub(crate) head_bytes: u64,
    /// What the path itself moves.
    pub(crate) body_bytes: u64,
    /// After the last aligned byte.
    pub(crate) tail_bytes: u64,
}

impl Division {
    /// A range that its path moves whole.
    fn whole(len_bytes: u64) -> Self {
        Self { head_bytes: 0, body_bytes: len_bytes, tail_bytes: 0 }
    }
}

/// The path of an unaligned head or tail. A load reads their blocks directly, aside, so that the
/// page cache stays as it is; a save has to write parts of blocks.
pub(crate) fn unaligned_path(direction: Direction) -> IoPath {
    match direction {
        Direction::Load => IoPath::Bounce,
        Direction::Save => IoPath::Buffered,
    }
}

/// What takes the last block of a load where the range ends inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoadTail {
    /// The path itself.
    InBody,
    /// Another path: this one would overwrite what lies behind the range.
    Apart,
}

/// Whether the memory that is read into or written from is the buffer's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// Yes, so that its offset has to be aligned, too.
    Buffer,
    /// No, it is an aligned bounce buffer.
    Bounce,
}

/// Divides a range of a file for a path, or says why the path cannot take it. `is_backed` says
/// whether the memfd behind the buffer is mapped.
pub(crate) fn divide(
    path: IoPath,
    direction: Direction,
    file: &FileFacts,
    range: ResolvedSegment,
    is_backed: bool,
) -> Result<Division, Refusal> {
    let aligned = |memory, tail| divide_aligned(direction, file, range, memory, tail);
    let whole = Division::whole(range.len_bytes);
    match (path, direction) {
        (IoPath::CopyFileRangeDirect, _) => aligned(Memory::Buffer, LoadTail::InBody),
        (IoPath::UdmabufDirect, Direction::Load) if is_backed => {
            aligned(Memory::Buffer, LoadTail::Apart)
        }
        (IoPath::UdmabufDirect, _) => Err(Refusal::NoMemfd),
        // What surrounds the range in its first and last block is read and not copied.
        (IoPath::Bounce, Direction::Load) => direct_align(file).map(|_| whole),
        (IoPath::Bounce, Direction::Save) => aligned(Memory::Bounce, LoadTail::Apart),
        (IoPath::CopyFileRangeBuffered, _) if file.has_buffered_fd => Ok(whole),
        (IoPath::CopyFileRangeBuffered, _) => Err(Refusal::FileOpenedDirect),
        // Without a buffered fd, bounce buffers take whole blocks of a file that is direct. By an
        // fd with O_DIRECT nothing else is read: F2FS without "f2fs: fix to force buffered IO on
        // inline_data inode" gives zeroes.
        (IoPath::Buffered, Direction::Load) => match file.direct {
            _ if file.has_buffered_fd => Ok(whole),
            DirectIo::Possible { .. } => Ok(whole),
            _ => Err(Refusal::FileOpenedDirect),
        },
        (IoPath::Buffered, Direction::Save) => {
            let align_bytes = u64::from(file.offset_align_bytes());
            let is_aligned = |bytes: u64| bytes % align_bytes == 0;
            let aligned = is_aligned(range.file_offset_bytes) && is_aligned(range.len_bytes);
            if file.has_buffered_fd || aligned {
                Ok(whole)
            } else {
                Err(Refusal::UnalignedSave { align_bytes })
            }
        }
    }
}

/// The alignment of memory and of file offset, in bytes, or why the file is not direct.
fn direct_align(file: &FileFacts) -> Result<(u64, u64), Refusal> {
    match &file.direct {
        DirectIo::Possible { memory_align_bytes, offset_align_bytes } => {
            Ok((u64::from(*memory_align_bytes), u64::from(*offset_align_bytes)))
        }
        DirectIo::NotOnThisFile(detail) => Err(Refusal::FileNotDirect(detail.clone())),
        DirectIo::OpenedBuffered(detail) => Err(Refusal::FileOpenedBuffered(detail.clone())),
        DirectIo::ReopeningCostsMore => Err(Refusal::ReopeningCostsMore),
    }
}

/// Finds the part of a range that is aligned on both sides.
fn divide_aligned(
    direction: Direction,
    file: &FileFacts,
    range: ResolvedSegment,
    memory: Memory,
    load_tail: LoadTail,
) -> Result<Division, Refusal> {
    let (memory_align, offset_align) = direct_align(file)?;
    let (start, end) = (range.file_offset_bytes, range.file_end_bytes());
    let body_start = start.next_multiple_of(offset_align).min(end);
    let head_bytes = body_start - start;
    let body_in_buffer = range.buffer_offset_bytes + head_bytes;
    let misplaced = memory == Memory::Buffer && body_in_buffer % memory_align != 0;
    if body_start < end && misplaced {
        return Err(Refusal::Misaligned {
            file_offset_bytes: start,
            buffer_offset_bytes: range.buffer_offset_bytes,
            align_bytes: memory_align.max(offset_align),
        });
    }
    let last_whole_block = (end - end % offset_align).max(body_start);
    let body_end = match (direction, load_tail) {
        (Direction::Load, LoadTail::InBody) => end,
        (Direction::Load, LoadTail::Apart) | (Direction::Save, _) => last_whole_block,
    };
    let (body_bytes, tail_bytes) = (body_end - body_start, end - body_end);
    let unaligned = head_bytes + tail_bytes > 0;
    if direction == Direction::Save && unaligned && !file.has_buffered_fd {
        return Err(Refusal::UnalignedSave { align_bytes: offset_align });
    }
    Ok(Division { head_bytes, body_bytes, tail_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io_path::Reason;

    const SIZE_BYTES: u64 = 10_000;

    fn divide_in(
        memory: Memory,
        load_tail: LoadTail,
        facts: (Direction, u64, u64, u64, bool),
    ) -> Result<(u64, u64, u64), Reason> {
        let (direction, file_offset_bytes, buffer_offset_bytes, len_bytes, has_buffered_fd) = facts;
        let file = FileFacts {
            size_bytes: SIZE_BYTES,
            has_buffered_fd,
            is_sparse: false,
            direct: DirectIo::Possible { memory_align_bytes: 512, offset_align_bytes: 4096 },
        };
        let range =
            ResolvedSegment { file_index: 0, file_offset_bytes, buffer_offset_bytes, len_bytes };
        divide_aligned(direction, &file, range, memory, load_tail)
            .map(|division| (division.head_bytes, division.body_bytes, division.tail_bytes))
            .map_err(|refusal| refusal.reason())
    }

    fn divide_direct(
        direction: Direction,
        file_offset_bytes: u64,
        buffer_offset_bytes: u64,
        len_bytes: u64,
        has_buffered_fd: bool,
    ) -> Result<(u64, u64, u64), Reason> {
        let facts = (direction, file_offset_bytes, buffer_offset_bytes, len_bytes, has_buffered_fd);
        divide_in(Memory::Buffer, LoadTail::InBody, facts)
    }

    #[test]
    fn a_whole_file_of_any_size_is_all_body() {
        assert_eq!(divide_direct(Direction::Load, 0, 0, SIZE_BYTES, false), Ok((0, SIZE_BYTES, 0)));
        assert_eq!(divide_direct(Direction::Load, 4096, 0, 200, false), Ok((0, 200, 0)));
    }

    #[test]
    fn a_load_that_may_not_touch_what_follows_has_a_tail() {
        let facts = (Direction::Load, 100, 100, 9000, false);
        let division = divide_in(Memory::Buffer, LoadTail::Apart, facts);
        assert_eq!(division, Ok((3996, 4096, 908)));
    }

    #[test]
    fn an_unaligned_load_has_a_head() {
        assert_eq!(divide_direct(Direction::Load, 100, 100, 9000, false), Ok((3996, 5004, 0)));
    }

    #[test]
    fn a_range_inside_one_block_is_all_head() {
        assert_eq!(divide_direct(Direction::Load, 100, 7, 200, false), Ok((200, 0, 0)));
    }

    #[test]
    fn offsets_that_differ_modulo_the_alignment_are_refused() {
        assert_eq!(divide_direct(Direction::Load, 0, 1, 8192, false), Err(Reason::Unaligned));
        assert_eq!(divide_direct(Direction::Load, 0, 512, 8192, false), Ok((0, 8192, 0)));
    }

    #[test]
    fn a_bounce_buffer_is_aligned_at_any_buffer_offset() {
        let facts = (Direction::Save, 0, 1, 8192, false);
        assert_eq!(divide_in(Memory::Bounce, LoadTail::InBody, facts), Ok((0, 8192, 0)));
    }

    #[test]
    fn an_unaligned_save_needs_a_buffered_fd() {
        assert_eq!(divide_direct(Direction::Save, 0, 0, 4097, false), Err(Reason::Unaligned));
        assert_eq!(divide_direct(Direction::Save, 0, 0, 4097, true), Ok((0, 4096, 1)));
        assert_eq!(divide_direct(Direction::Save, 4096, 0, 200, true), Ok((0, 0, 200)));
        assert_eq!(divide_direct(Direction::Save, 100, 100, 9000, true), Ok((3996, 4096, 908)));
    }

    #[test]
    fn a_file_that_is_not_direct_is_not_read_through_o_direct() {
        let range = ResolvedSegment {
            file_index: 0,
            file_offset_bytes: 0,
            buffer_offset_bytes: 0,
            len_bytes: 100,
        };
        let possible = DirectIo::Possible { memory_align_bytes: 512, offset_align_bytes: 512 };
        for (direct, has_buffered_fd, refused) in [
            (DirectIo::NotOnThisFile("inline".into()), false, true),
            (DirectIo::NotOnThisFile("inline".into()), true, false),
            (possible.clone(), false, false),
            (possible, true, false),
        ] {
            let file = FileFacts { size_bytes: 100, has_buffered_fd, is_sparse: false, direct };
            for path in IoPath::CHEAPEST_FIRST {
                let divided = divide(path, Direction::Load, &file, range, true);
                let reads_through_o_direct = !file.has_buffered_fd && divided.is_ok();
                assert!(!(refused && reads_through_o_direct), "{path} {file:?}");
                if path == IoPath::Buffered {
                    assert_eq!(divided.is_err(), refused, "{file:?}");
                }
            }
        }
    }

    #[test]
    fn an_empty_range_is_empty() {
        assert_eq!(divide_direct(Direction::Load, 5, 3, 0, false), Ok((0, 0, 0)));
    }

    /// The parts cover the range exactly and the body is aligned, whatever the numbers.
    #[test]
    fn parts_cover_the_range_and_bodies_are_aligned() {
        for file_offset in (0..SIZE_BYTES).step_by(257) {
            for len in [0, 1, 511, 512, 4095, 4096, 4097, 8192, SIZE_BYTES - file_offset] {
                let len = len.min(SIZE_BYTES - file_offset);
                for buffer_offset in [0, 1, 512, file_offset % 4096, 4096] {
                    for (direction, load_tail) in [
                        (Direction::Load, LoadTail::InBody),
                        (Direction::Load, LoadTail::Apart),
                        (Direction::Save, LoadTail::Apart),
                    ] {
                        let facts = (direction, file_offset, buffer_offset, len, true);
                        let Ok((head, body, tail)) = divide_in(Memory::Buffer, load_tail, facts)
                        else {
                            continue;
                        };
                        assert_eq!(head + body + tail, len);
                        if body > 0 {
                            assert_eq!((file_offset + head) % 4096, 0);
                            assert_eq!((buffer_offset + head) % 512, 0);
                        }
                        if load_tail == LoadTail::Apart {
                            assert_eq!(body % 4096, 0);
                        }
                    }
                }
            }
        }
    }
}
