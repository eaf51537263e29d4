// SPDX-License-Identifier: Apache-2.0
//! `read(2)` and `write(2)` on a mapping of the buffer: always possible, one CPU copy.
//!
//! A file that is only open with `O_DIRECT` goes through aligned bounce buffers here, too: its file
//! system takes nothing else, even where it then uses the page cache.

use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;

use dmabuf_uapi::mapped_range::MappedRange;
use dmabuf_uapi::Errno;
use rustix::fs::{fadvise, Advice};

use super::bounce::move_through;
use super::range_copy::{Moved, RangeCopy};
use crate::error::{EngineError, Result};
use crate::io_path::Direction;
use crate::operation::Operation;

/// Bytes per call.
const CALL_BYTES: u64 = 1 << 20;

/// What the kernel reads ahead unless it is advised otherwise (`VM_READAHEAD_PAGES` in
/// `include/linux/mm.h`).
const DEFAULT_READAHEAD_BYTES: u64 = 128 << 10;

/// A load drops what it brought into the page cache after so many bytes.
const FOOTPRINT_BYTES: u64 = 8 << 20;

pub(super) fn run(copy: &RangeCopy<'_, '_>) -> Result<Moved> {
    let Some(file) = copy.file.buffered_fd() else {
        return move_through(copy, copy.file.passed_fd());
    };
    let window = copy.buffer.window(copy.range.buffer_offset_bytes, copy.range.len_bytes)?;
    let bytes = match copy.direction {
        Direction::Load => read_in(copy, file, &window)?,
        Direction::Save => write_out(copy, file, &window)?,
    };
    Ok(Moved::bytes(bytes))
}

fn read_in(
    copy: &RangeCopy<'_, '_>,
    file: BorrowedFd<'_>,
    window: &MappedRange<'_>,
) -> Result<u64> {
    let (offset, len) = (copy.range.file_offset_bytes, copy.range.len_bytes);
    let advise = |done: u64, bytes: u64, advice| {
        // Advice: a file system that takes none reads as well.
        let _ = fadvise(file, offset + done, NonZeroU64::new(bytes), advice);
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
        let read = read_part(copy, window, file, done..done + part)?;
        let brought_in = from_storage().zip(before).map_or(0, |(now, then)| now - then);
        // What was in the page cache already may be of use to others.
        if brought_in > read / 2 {
            advise(done, read, Advice::DontNeed);
        }
        done += read;
        if read < part {
            break;
        }
    }
    Ok(done)
}

/// What this thread has caused to be read from storage, see `read_bytes` in proc_pid_io(5); `None`
/// where the kernel does not count it.
fn storage_read_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes: "))?.parse().ok()
}

/// Reads a part of the range; stops at the end of the file.
fn read_part(
    copy: &RangeCopy<'_, '_>,
    window: &MappedRange<'_>,
    file: BorrowedFd<'_>,
    part: std::ops::Range<u64>,
) -> Result<u64> {
    let mut done = part.start;
    while done < part.end {
        copy.context.check()?;
        let count = (part.end - done).min(CALL_BYTES);
        let offset = copy.range.file_offset_bytes + done;
        match window.pread(done, count, file, offset).map_err(io(Operation::ReadFile))? {
            0 => break,
            read => {
                (copy.moved)(done..done + read);
                done += read;
            }
        }
    }
    Ok(done - part.start)
}

fn write_out(
    copy: &RangeCopy<'_, '_>,
    file: BorrowedFd<'_>,
    window: &MappedRange<'_>,
) -> Result<u64> {
    let mut done = 0;
    while done < copy.range.len_bytes {
        copy.context.check()?;
        let count = (copy.range.len_bytes - done).min(CALL_BYTES);
        let offset = copy.range.file_offset_bytes + done;
        match window.pwrite(done, count, file, offset).map_err(io(Operation::WriteFile))? {
            0 => return Err(EngineError::io(Operation::WriteFile, Errno::NOSPC)),
            written => {
                (copy.moved)(done..done + written);
                done += written;
            }
        }
    }
    Ok(done)
}

fn io(operation: Operation) -> impl Fn(Errno) -> EngineError {
    move |errno| EngineError::io(operation, errno)
}
