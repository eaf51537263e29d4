// SPDX-License-Identifier: Apache-2.0
//! `copy_file_range(2)` between a file and a buffer. The kernel decides by the file's `O_DIRECT` whether it is direct.

use std::fs::File;
use std::os::fd::AsFd;

use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::{page_size_bytes, Errno};

use super::{
    Direction, Progress, Reason, Refusal, SegmentFacts, Split, Support, Transfer, TransferPath,
};
use crate::buffer::BufferView;
use crate::error::{errno_text, EngineError, Result};
use crate::file::DirectIo;

/// Bytes per call: one call of this size saturates a device, and a killed process waits for no more than one.
const BATCH_BYTES: u64 = 32 << 20;

/// A regular file that every process may read: itself.
const PROBE_FILE: &str = "/proc/self/exe";

pub(crate) struct CopyFileRange;

/// The answers that mean: not this way.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::BUSY)
}

impl TransferPath for CopyFileRange {
    fn probe(&self, sample: &BufferView<'_>) -> Support {
        let answer = |supported, detail: String| Support { supported, detail };
        let file = match File::open(PROBE_FILE) {
            Ok(file) => file,
            Err(error) => return answer(false, format!("cannot open {PROBE_FILE}: {error}")),
        };
        match copy_file_range(&file, 0, sample.fd, 0, page_size_bytes()) {
            Ok(0) => answer(false, "the kernel copied nothing".to_owned()),
            Ok(_) => answer(true, "the kernel copies from files to these buffers".to_owned()),
            Err(errno) => answer(
                false,
                format!(
                    "the kernel does not copy from files to these buffers: {}",
                    errno_text(errno)
                ),
            ),
        }
    }

    fn split(&self, direct: bool, facts: &SegmentFacts<'_>) -> std::result::Result<Split, Refusal> {
        if direct {
            split_direct(facts)
        } else if facts.file.has_buffered_fd {
            Ok(Split { head_bytes: 0, body_bytes: facts.segment.len_bytes, tail_bytes: 0 })
        } else {
            Err(Refusal::new(
                Reason::FileOpenedDirect,
                "the file is opened with O_DIRECT and cannot be reopened without it",
            ))
        }
    }

    fn run(&self, transfer: &Transfer<'_>) -> Result<Progress> {
        let file =
            if transfer.direct { transfer.file.direct_fd() } else { transfer.file.buffered_fd() };
        let Some(file) = file else {
            return Ok(Progress { bytes: 0, refused: Some(Errno::BADF) });
        };
        let mut bytes = 0;
        while bytes < transfer.len_bytes {
            let batch = (transfer.len_bytes - bytes).min(BATCH_BYTES) as usize;
            let file_offset = transfer.file_offset_bytes + bytes;
            let buffer_offset = transfer.buffer_offset_bytes + bytes;
            let buffer = transfer.buffer.fd.as_fd();
            let copied = match transfer.direction {
                Direction::Load => copy_file_range(file, file_offset, buffer, buffer_offset, batch),
                Direction::Save => copy_file_range(buffer, buffer_offset, file, file_offset, batch),
            };
            match copied {
                Ok(0) => break,
                Ok(count) => bytes += count as u64,
                Err(Errno::INTR) => {}
                Err(errno) if is_refusal(errno) => {
                    return Ok(Progress { bytes, refused: Some(errno) });
                }
                Err(errno) => return Err(EngineError::io("copy_file_range", errno)),
            }
        }
        Ok(Progress { bytes, refused: None })
    }
}

/// Finds the part of a segment that is aligned on both sides.
fn split_direct(facts: &SegmentFacts<'_>) -> std::result::Result<Split, Refusal> {
    let (memory_align, offset_align) = match &facts.file.direct {
        DirectIo::Possible { memory_align_bytes, offset_align_bytes } => {
            (u64::from(*memory_align_bytes), u64::from(*offset_align_bytes))
        }
        DirectIo::NotOnThisFile(detail) => {
            return Err(Refusal::new(Reason::FileNotDirect, detail.clone()));
        }
        DirectIo::OpenedBuffered(detail) => {
            return Err(Refusal::new(Reason::FileOpenedBuffered, detail.clone()));
        }
    };
    let segment = facts.segment;
    let (start, end) = (segment.file_offset_bytes, segment.file_end_bytes());
    let body_start = start.next_multiple_of(offset_align).min(end);
    let head_bytes = body_start - start;
    let body_in_buffer = segment.buffer_offset_bytes + head_bytes;
    if body_start < end && body_in_buffer % memory_align != 0 {
        return Err(Refusal::new(
            Reason::Unaligned,
            format!(
                "file offset {start} and buffer offset {} are not the same modulo {}",
                segment.buffer_offset_bytes,
                memory_align.max(offset_align)
            ),
        ));
    }
    let body_end = match facts.direction {
        Direction::Load => end,
        Direction::Save => (end - end % offset_align).max(body_start),
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
    use crate::file::FileFacts;
    use crate::request::ResolvedSegment;

    const SIZE_BYTES: u64 = 10_000;

    fn split(
        direction: Direction,
        file_offset_bytes: u64,
        buffer_offset_bytes: u64,
        len_bytes: u64,
        has_buffered_fd: bool,
    ) -> std::result::Result<(u64, u64, u64), Reason> {
        let file = FileFacts {
            size_bytes: SIZE_BYTES,
            has_buffered_fd,
            direct: DirectIo::Possible { memory_align_bytes: 512, offset_align_bytes: 4096 },
        };
        let segment =
            ResolvedSegment { file_index: 0, file_offset_bytes, buffer_offset_bytes, len_bytes };
        split_direct(&SegmentFacts { direction, file: &file, segment })
            .map(|split| (split.head_bytes, split.body_bytes, split.tail_bytes))
            .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_whole_file_of_any_size_is_all_body() {
        assert_eq!(split(Direction::Load, 0, 0, SIZE_BYTES, false), Ok((0, SIZE_BYTES, 0)));
        assert_eq!(split(Direction::Load, 4096, 0, 200, false), Ok((0, 200, 0)));
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
                    for direction in [Direction::Load, Direction::Save] {
                        let Ok((head, body, tail)) =
                            split(direction, file_offset, buffer_offset, len, true)
                        else {
                            continue;
                        };
                        assert_eq!(head + body + tail, len);
                        if body > 0 {
                            assert_eq!((file_offset + head) % 4096, 0);
                            assert_eq!((buffer_offset + head) % 512, 0);
                        }
                        if direction == Direction::Save {
                            assert_eq!(body % 4096, 0);
                        }
                    }
                }
            }
        }
    }
}
