// SPDX-License-Identifier: Apache-2.0
//! `read(2)` and `write(2)` on a mapping of the buffer: always possible, one CPU copy.
//!
//! A file that is only open with `O_DIRECT` goes through aligned bounce buffers here, too: its file
//! system takes nothing else.
//!
//! The client's open file description keeps its readahead, and the page cache what was in it: a long
//! load drops only the pages that it has brought in.

use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;

use dmabuf_uapi::mapped_range::MappedRange;
use dmabuf_uapi::{page_size_bytes, Errno, Result as KernelResult};
use rustix::fs::{fadvise, Advice};
use rustix::io::{preadv2, ReadWriteFlags};

use super::bounce::move_through;
use super::chunks::in_chunks;
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

/// Bytes that are asked of the storage at once: enough requests for a device that serves many at a
/// time. A longer load drops what it brought into the page cache after so many bytes.
const RUN_BYTES: u64 = 8 << 20;

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
    let len_bytes = copy.range.len_bytes;
    let moved = in_chunks(copy, false, operation, |done, batch| {
        let part = Part {
            window,
            place: done,
            file,
            offset_bytes: copy.range.file_offset_bytes + done,
            len_bytes: batch as u64,
        };
        let read = if len_bytes <= READAHEAD_BYTES {
            part.read(part.len_bytes)?
        } else if len_bytes <= RUN_BYTES {
            part.read_ahead()?
        } else {
            part.read_ahead_and_drop()?
        };
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
    /// Reads the first bytes of it; returns how many.
    fn read(&self, len_bytes: u64) -> KernelResult<u64> {
        self.window.pread(self.place, len_bytes, self.file, self.offset_bytes)
    }

    /// Reads what is in the page cache, else asks the storage for all of a run before it reads.
    fn read_ahead(&self) -> KernelResult<u64> {
        let len_bytes = self.len_bytes.min(RUN_BYTES);
        match self.window.pread_cached(self.place, len_bytes, self.file, self.offset_bytes) {
            Err(Errno::AGAIN | Errno::OPNOTSUPP) => {
                self.ask_storage_for(len_bytes);
                self.read(len_bytes)
            }
            read => read,
        }
    }

    /// As [`Part::read_ahead`]; a run ends before the next page that is in the page cache, and
    /// leaves nothing there.
    fn read_ahead_and_drop(&self) -> KernelResult<u64> {
        let len_bytes = self.len_bytes.min(RUN_BYTES);
        match self.window.pread_cached(self.place, len_bytes, self.file, self.offset_bytes) {
            Err(Errno::AGAIN) => {}
            // Where the file system does not tell which pages were there, all of them stay.
            Err(Errno::OPNOTSUPP) => {
                self.ask_storage_for(len_bytes);
                return self.read(len_bytes);
            }
            read => return read,
        }
        let absent_bytes = self.absent_bytes(len_bytes);
        self.ask_storage_for(absent_bytes);
        let read = self.read(absent_bytes)?;
        self.advise(0, read, Advice::DontNeed);
        Ok(read)
    }

    /// How many bytes lie before the next page that is in the page cache. The first page is not.
    fn absent_bytes(&self, len_bytes: u64) -> u64 {
        let page_bytes = page_size_bytes();
        let end = self.offset_bytes + len_bytes;
        let next_page = (self.offset_bytes + 1).next_multiple_of(page_bytes as u64);
        let is_absent = |offset: &u64| {
            let mut byte = [0];
            let mut part = [IoSliceMut::new(&mut byte)];
            preadv2(self.file, &mut part, *offset, ReadWriteFlags::NOWAIT) == Err(Errno::AGAIN)
        };
        let mut pages = (next_page..end).step_by(page_bytes);
        pages.find(|offset| !is_absent(offset)).unwrap_or(end) - self.offset_bytes
    }

    /// The storage may serve many requests at a time. This leaves no trace in the description.
    fn ask_storage_for(&self, len_bytes: u64) {
        for ahead in (0..len_bytes).step_by(READAHEAD_BYTES as usize) {
            let bytes = READAHEAD_BYTES.min(len_bytes - ahead);
            self.advise(ahead, bytes, Advice::WillNeed);
        }
    }

    /// Advice: a file system that takes none reads as well.
    fn advise(&self, from_bytes: u64, len_bytes: u64, advice: Advice) {
        // A length of 0 would mean all up to the end of the file.
        if let Some(len_bytes) = NonZeroU64::new(len_bytes) {
            let _ = fadvise(self.file, self.offset_bytes + from_bytes, Some(len_bytes), advice);
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
        copy.context.check()?;
        let count = (copy.range.len_bytes - done).min(CALL_BYTES);
        let offset = copy.range.file_offset_bytes + done;
        let written = if copy.file.ignores_append() {
            window.pwrite_no_append(done, count, file, offset)
        } else {
            window.pwrite(done, count, file, offset)
        };
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
