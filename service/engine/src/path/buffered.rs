// SPDX-License-Identifier: Apache-2.0
//! `read(2)` and `write(2)` on a mapping of the buffer: always possible, one CPU copy.
//!
//! A file that is only open with `O_DIRECT` goes through aligned bounce buffers here, too: its file
//! system takes nothing else.
//!
//! The client's open file description keeps its readahead: the engine gives no advice that stays
//! with it. The page cache keeps what was in it, see [`Footprint`].

use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;

use dmabuf_uapi::mapped_range::MappedRange;
use dmabuf_uapi::{Errno, Result as KernelResult};
use rustix::fs::{fadvise, Advice};

use super::bounce::move_through;
use super::chunks::in_chunks;
use super::footprint::{Footprint, RUN_BYTES};
use super::range_copy::{Moved, RangeCopy};
use crate::error::{EngineError, Result};
use crate::io_path::Direction;
use crate::operation::Operation;

/// Bytes per call.
const CALL_BYTES: u64 = 1 << 20;

/// What the kernel reads ahead unless it is advised otherwise (`VM_READAHEAD_PAGES` in
/// `include/linux/mm.h`), and the least that it reads on advice (`force_page_cache_ra` in
/// `mm/readahead.c`).
const READAHEAD_BYTES: u64 = 128 << 10;

pub(super) fn run(copy: &RangeCopy<'_, '_>) -> Result<Moved> {
    let Some(file) = copy.file.buffered_fd() else {
        return move_through(copy, copy.file.own_or_passed_fd());
    };
    let window = copy.buffer.window(copy.range.buffer_offset_bytes, copy.range.len_bytes)?;
    match copy.direction {
        Direction::Load => read_in(copy, file, &window),
        Direction::Save => write_out(copy, file, &window).map(Moved::bytes),
    }
}

fn read_in(
    copy: &RangeCopy<'_, '_>,
    file: BorrowedFd<'_>,
    window: &MappedRange<'_>,
) -> Result<Moved> {
    let operation = Operation::ReadFile;
    let (offset_bytes, len_bytes) = (copy.range.file_offset_bytes, copy.range.len_bytes);
    let footprint = Footprint::of(file, offset_bytes, len_bytes);
    let moved = in_chunks(copy, false, operation, |done, batch| {
        let part = Part {
            window,
            place: done,
            file,
            offset_bytes: offset_bytes + done,
            // Up to the end of a run: enough requests for a device that serves many at a time.
            len_bytes: (batch as u64).min(RUN_BYTES - done % RUN_BYTES),
        };
        // A short load is what the kernel reads ahead by itself.
        let is_short = len_bytes <= READAHEAD_BYTES;
        let read = if is_short { part.read() } else { part.read_ahead() }?;
        footprint.drop_part(done, read);
        Ok(read as usize)
    })?;
    match moved.refused {
        Some(errno) => Err(EngineError::io(operation, errno)),
        None => Ok(moved),
    }
}

/// A part of a load, at a place in the window and at an offset in the file.
#[derive(Clone, Copy)]
struct Part<'a> {
    window: &'a MappedRange<'a>,
    place: u64,
    file: BorrowedFd<'a>,
    offset_bytes: u64,
    len_bytes: u64,
}

impl Part<'_> {
    fn read(&self) -> KernelResult<u64> {
        self.window.pread(self.place, self.len_bytes, self.file, self.offset_bytes)
    }

    /// Reads what is in the page cache, else asks the storage for all of the part before it reads.
    fn read_ahead(&self) -> KernelResult<u64> {
        match self.window.pread_cached(self.place, self.len_bytes, self.file, self.offset_bytes) {
            // EROFS does not tell what is in the page cache.
            Err(Errno::AGAIN | Errno::OPNOTSUPP) => {
                self.ask_storage();
                self.read()
            }
            read => read,
        }
    }

    /// The storage may serve many requests at a time. This leaves no trace in the description.
    fn ask_storage(&self) {
        for ahead in (0..self.len_bytes).step_by(READAHEAD_BYTES as usize) {
            let bytes = NonZeroU64::new(READAHEAD_BYTES.min(self.len_bytes - ahead));
            // Advice: a file system that takes none reads as well.
            let _ = fadvise(self.file, self.offset_bytes + ahead, bytes, Advice::WillNeed);
        }
    }
}

fn write_out(
    copy: &RangeCopy<'_, '_>,
    file: BorrowedFd<'_>,
    window: &MappedRange<'_>,
) -> Result<u64> {
    let mut done = 0;
    while done < copy.range.len_bytes {
        let batch = copy.context.begin_batch((copy.range.len_bytes - done).min(CALL_BYTES))?;
        let offset = copy.range.file_offset_bytes + done;
        let written = window.pwrite_as(done, batch.len_bytes, file, offset, copy.file.append());
        drop(batch);
        match written.map_err(io(Operation::WriteFile))? {
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
