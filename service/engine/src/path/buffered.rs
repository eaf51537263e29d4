// SPDX-License-Identifier: Apache-2.0
//! `read(2)` and `write(2)` on a mapping of the buffer: always possible, one CPU copy.
//!
//! A file that is only open with `O_DIRECT` goes through aligned bounce buffers here, too: its file system takes nothing
//! else, even where it then uses the page cache.

use std::os::fd::BorrowedFd;

use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::Errno;
use rustix::fs::{fadvise, Advice};

use super::bounce::move_through;
use super::{
    Direction, Progress, Reason, Refusal, SegmentFacts, Split, Support, Transfer, TransferPath,
};
use crate::buffer::{BufferView, MappedWindow};
use crate::error::{EngineError, Result};

/// Bytes per call.
const CHUNK_BYTES: u64 = 1 << 20;

/// What the kernel reads ahead unless it is advised otherwise (`VM_READAHEAD_PAGES` in `include/linux/mm.h`).
const DEFAULT_READAHEAD_BYTES: u64 = 128 << 10;

/// A load leaves at most so many bytes in the page cache that were not there before.
const FOOTPRINT_BYTES: u64 = 8 << 20;

pub(crate) struct Buffered;

impl TransferPath for Buffered {
    fn probe(&self, _sample: &BufferView<'_>) -> Support {
        Support { supported: true, detail: "needs nothing of the kernel".into() }
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
        let Some(file) = transfer.file.buffered_fd() else {
            return move_through(transfer, transfer.file.any_fd());
        };
        let map =
            |access| transfer.buffer.map(transfer.buffer_offset_bytes, transfer.len_bytes, access);
        let (bytes, window) = match transfer.direction {
            Direction::Load => {
                let window = map(CpuAccess::WRITE)?;
                (read_in(transfer, file, &window)?, window)
            }
            Direction::Save => {
                let window = map(CpuAccess::READ)?;
                (write_out(transfer, file, &window)?, window)
            }
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
    let advise = |done: u64, bytes: u64, advice| {
        // Advice: a file system that takes none reads as well.
        let _ = fadvise(file, offset + done, std::num::NonZeroU64::new(bytes), advice);
    };
    if len > DEFAULT_READAHEAD_BYTES {
        advise(0, len, Advice::Sequential);
    }
    let may_exceed_footprint = len > FOOTPRINT_BYTES;
    let from_storage = || if may_exceed_footprint { storage_read_bytes() } else { None };
    let mut done = 0;
    while done < len {
        let part = (len - done).min(FOOTPRINT_BYTES);
        let before = from_storage();
        let read = read_part(window, file, offset, done..done + part)?;
        let brought_in = from_storage().zip(before).map_or(0, |(now, then)| now - then);
        // What was in the page cache already may be of use to others.
        if brought_in > read / 2 {
            advise(done, read, Advice::DontNeed);
        }
        done += read;
        (transfer.follower)(done);
        if read < part {
            break;
        }
    }
    Ok(done)
}

/// What this thread has caused to be read from storage, see `read_bytes` in proc_pid_io(5); `None` where the kernel does
/// not count it.
fn storage_read_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes: "))?.parse().ok()
}

/// Reads a part of the window from the file, whose `offset` belongs to the window's start; stops at the file's end.
fn read_part(
    window: &MappedWindow<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    part: std::ops::Range<u64>,
) -> Result<u64> {
    let mut done = part.start;
    while done < part.end {
        let count = (part.end - done).min(CHUNK_BYTES);
        match window.pread(done, count, file, offset + done).map_err(io("read the file"))? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done - part.start)
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

fn io(operation: &'static str) -> impl Fn(Errno) -> EngineError {
    move |errno| EngineError::io(operation, errno)
}
