// SPDX-License-Identifier: Apache-2.0
//! `read(2)` and `write(2)` on a mapping of the buffer: always possible, one CPU copy.
//!
//! A file that is only open with `O_DIRECT` is read and written through an aligned bounce buffer, because direct I/O
//! cannot pin the pages of a mapped dma-buf.

use std::os::fd::BorrowedFd;

use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapping::Mapping;
use dmabuf_uapi::Errno;
use rustix::fs::{fadvise, Advice};

use super::{
    Direction, Progress, Reason, Refusal, SegmentFacts, Split, Support, Transfer, TransferPath,
};
use crate::buffer::{BufferView, MappedWindow};
use crate::error::{EngineError, Result};

/// Bytes per call, and the size of the bounce buffer.
const CHUNK_BYTES: u64 = 1 << 20;

pub(crate) struct Buffered;

impl TransferPath for Buffered {
    fn probe(&self, _sample: &BufferView<'_>) -> Support {
        Support { supported: true, detail: "needs nothing of the kernel".to_owned() }
    }

    fn split(&self, direct: bool, facts: &SegmentFacts<'_>) -> std::result::Result<Split, Refusal> {
        if direct {
            return Err(Refusal::new(Reason::KernelUnsupported, "this path is never direct"));
        }
        let segment = facts.segment;
        let align = u64::from(facts.file.offset_align_bytes());
        let aligned = segment.file_offset_bytes % align == 0 && segment.len_bytes % align == 0;
        if facts.direction == Direction::Save && !facts.file.has_buffered_fd && !aligned {
            return Err(Refusal::new(
                Reason::Unaligned,
                format!("a file opened with O_DIRECT takes only multiples of {align} bytes"),
            ));
        }
        Ok(Split { head_bytes: 0, body_bytes: segment.len_bytes, tail_bytes: 0 })
    }

    fn run(&self, transfer: &Transfer<'_>) -> Result<Progress> {
        let access = match transfer.direction {
            Direction::Load => CpuAccess::WRITE,
            Direction::Save => CpuAccess::READ,
        };
        let window =
            transfer.buffer.map(transfer.buffer_offset_bytes, transfer.len_bytes, access)?;
        let bytes = match (transfer.file.buffered_fd(), transfer.direction) {
            (Some(file), Direction::Load) => read_in(transfer, file, &window)?,
            (Some(file), Direction::Save) => write_out(transfer, file, &window)?,
            (None, Direction::Load) => bounce_in(transfer, &window)?,
            (None, Direction::Save) => bounce_out(transfer, &window)?,
        };
        window.finish()?;
        Ok(Progress { bytes, refused: None })
    }
}

fn read_in(
    transfer: &Transfer<'_>,
    file: BorrowedFd<'_>,
    window: &MappedWindow<'_>,
) -> Result<u64> {
    let (offset, len) = (transfer.file_offset_bytes, transfer.len_bytes);
    if let Some(len) = std::num::NonZeroU64::new(len) {
        // Advice: a file system that takes none reads as well.
        let _ = fadvise(file, offset, Some(len), Advice::Sequential);
    }
    let mut done = 0;
    while done < len {
        let count = (len - done).min(CHUNK_BYTES);
        match window.pread(done, count, file, offset + done).map_err(io("read the file"))? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

fn write_out(
    transfer: &Transfer<'_>,
    file: BorrowedFd<'_>,
    window: &MappedWindow<'_>,
) -> Result<u64> {
    let mut done = 0;
    while done < transfer.len_bytes {
        let count = (transfer.len_bytes - done).min(CHUNK_BYTES);
        let offset = transfer.file_offset_bytes + done;
        match window.pwrite(done, count, file, offset).map_err(io("write the file"))? {
            0 => return Err(EngineError::io("write the file", Errno::NOSPC)),
            written => done += written,
        }
    }
    Ok(done)
}

fn bounce_in(transfer: &Transfer<'_>, window: &MappedWindow<'_>) -> Result<u64> {
    let file = transfer.file.any_fd();
    let align = u64::from(transfer.file.facts().offset_align_bytes());
    let bounce = bounce_buffer()?;
    let end = transfer.file_offset_bytes + transfer.len_bytes;
    let mut done = 0;
    while done < transfer.len_bytes {
        let offset = transfer.file_offset_bytes + done;
        let block = offset - offset % align;
        let skipped = offset - block;
        let wanted = (end.next_multiple_of(align) - block).min(CHUNK_BYTES);
        let read = bounce
            .pread(0..wanted as usize, file, block)
            .map_err(io("read the file directly"))? as u64;
        let useful = read.saturating_sub(skipped).min(end - offset);
        if useful == 0 {
            break;
        }
        window
            .copy_in(done, &bounce, skipped as usize, useful)
            .map_err(io("copy into the buffer"))?;
        done += useful;
        if read < wanted {
            break;
        }
    }
    Ok(done)
}

fn bounce_out(transfer: &Transfer<'_>, window: &MappedWindow<'_>) -> Result<u64> {
    let file = transfer.file.any_fd();
    let bounce = bounce_buffer()?;
    let mut done = 0;
    while done < transfer.len_bytes {
        let count = (transfer.len_bytes - done).min(CHUNK_BYTES);
        window.copy_out(done, &bounce, count).map_err(io("copy out of the buffer"))?;
        let written = bounce
            .pwrite(0..count as usize, file, transfer.file_offset_bytes + done)
            .map_err(io("write the file directly"))? as u64;
        if written == 0 {
            return Err(EngineError::io("write the file directly", Errno::NOSPC));
        }
        done += written;
    }
    Ok(done)
}

fn bounce_buffer() -> Result<Mapping> {
    Mapping::anonymous(CHUNK_BYTES as usize).map_err(io("allocate a bounce buffer"))
}

fn io(operation: &'static str) -> impl Fn(Errno) -> EngineError {
    move |errno| EngineError::io(operation, errno)
}
