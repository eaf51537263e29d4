// SPDX-License-Identifier: Apache-2.0
//! `O_DIRECT` into aligned bounce buffers, copied into the mapped buffer: no page cache, one CPU
//! copy, any alignment of the buffer, any kernel.
//!
//! Several threads each have a slot of the bounce memory, so that one waits for the storage while
//! another copies.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use dmabuf_uapi::mapped_range::MappedRange;
use dmabuf_uapi::mapping::Mapping;
use dmabuf_uapi::Errno;

use super::bounce_memory::{MAX_SLOTS, SLOT_BYTES};
use super::range_copy::{is_refusal, Moved, RangeCopy};
use crate::error::{EngineError, Result};
use crate::io_path::Direction;
use crate::operation::Operation;

pub(super) fn run(copy: &RangeCopy<'_, '_>) -> Result<Moved> {
    match copy.file.direct_fd() {
        Some(file) => move_through(copy, file),
        None => Ok(Moved::not_possible()),
    }
}

/// Moves a range through bounce buffers, with whole blocks of the file. A save must be of whole
/// blocks.
pub(super) fn move_through(copy: &RangeCopy<'_, '_>, file: BorrowedFd<'_>) -> Result<Moved> {
    let window = copy.buffer.window(copy.range.buffer_offset_bytes, copy.range.len_bytes)?;
    Pipeline::new(copy, file, &window)?.run()
}

/// One transfer, cut into pieces of a slot each, which the threads take one after the other.
struct Pipeline<'a, 'b> {
    copy: &'a RangeCopy<'a, 'b>,
    file: BorrowedFd<'a>,
    window: &'a MappedRange<'b>,
    align_bytes: u64,
    /// The range in the file.
    start: u64,
    end: u64,
    /// Where the next piece begins: a whole block.
    next: AtomicU64,
    /// Up to where the file went, and no piece before was refused.
    reached: AtomicU64,
    /// Up to where a load has copied something into the buffer.
    copied: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

/// Why a thread stopped before the end.
enum Failure {
    /// Another path may go on.
    Refused(Errno),
    /// No path will.
    Error(EngineError),
}

/// A piece of the file, whole blocks.
#[derive(Clone, Copy)]
struct Piece {
    start: u64,
    end: u64,
}

impl<'a, 'b> Pipeline<'a, 'b> {
    fn new(
        copy: &'a RangeCopy<'a, 'b>,
        file: BorrowedFd<'a>,
        window: &'a MappedRange<'b>,
    ) -> Result<Self> {
        let align_bytes = copy.offset_align_bytes();
        let start = copy.range.file_offset_bytes;
        let end = start
            .checked_add(copy.range.len_bytes)
            .and_then(|end| end.checked_next_multiple_of(align_bytes).map(|_| end))
            .ok_or(EngineError::io(Operation::ReadFileDirectly, Errno::OVERFLOW))?;
        Ok(Self {
            copy,
            file,
            window,
            align_bytes,
            start,
            end,
            next: AtomicU64::new(start - start % align_bytes),
            reached: AtomicU64::new(end),
            copied: AtomicU64::new(start),
            failure: Mutex::new(None),
        })
    }

    fn run(self) -> Result<Moved> {
        let first_block = self.next.load(Ordering::Relaxed);
        let pieces = (self.end - first_block).div_ceil(SLOT_BYTES);
        let threads = usize::try_from(pieces).map_or(MAX_SLOTS, |n| n.min(MAX_SLOTS));
        let slot_bytes =
            (self.end.next_multiple_of(self.align_bytes) - first_block).min(SLOT_BYTES);
        let resources = self.copy.resources;
        let ring = resources.bounce_memory.take(slot_bytes, threads)?;
        resources.threads.run("bounce", threads, &|slot| self.work(&ring, slot));
        self.finish()
    }

    /// How far the transfer came.
    fn finish(self) -> Result<Moved> {
        let reached = self.reached.into_inner().max(self.start);
        let bytes = reached - self.start;
        let copied = self.copied.into_inner();
        if copied > reached {
            // The file became shorter and longer again meanwhile.
            self.window
                .fill_zero(bytes, copied - reached)
                .map_err(|errno| EngineError::io(Operation::ZeroBuffer, errno))?;
        }
        match self.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Failure::Error(error)) => Err(error),
            Some(Failure::Refused(errno)) => Ok(Moved { bytes, refused: Some(errno) }),
            None => Ok(Moved::bytes(bytes)),
        }
    }

    /// Takes pieces until none are left, or something has ended the transfer before them.
    fn work(&self, ring: &Mapping, slot: usize) {
        let slot_start = slot * SLOT_BYTES as usize;
        let end = self.end.next_multiple_of(self.align_bytes);
        loop {
            let left = end.saturating_sub(self.next.load(Ordering::Relaxed));
            if left == 0 {
                return;
            }
            let batch = match self.copy.context.begin_batch(left.min(SLOT_BYTES)) {
                Ok(batch) => batch,
                Err(error) => return self.fail(Failure::Error(error)),
            };
            let start = self.next.fetch_add(batch.len_bytes, Ordering::Relaxed);
            if start >= self.reached.load(Ordering::Relaxed) {
                return;
            }
            let piece = Piece { start, end: end.min(start + batch.len_bytes) };
            let moved = match self.copy.direction {
                Direction::Load => self.load(piece, ring, slot_start),
                Direction::Save => self.save(piece, ring, slot_start),
            };
            drop(batch);
            match moved {
                Ok(reached) if reached < piece.end => {
                    self.reached.fetch_min(reached, Ordering::Relaxed);
                }
                Ok(_) => self.report(piece),
                Err(failure) => {
                    self.reached.fetch_min(start, Ordering::Relaxed);
                    return self.fail(failure);
                }
            }
        }
    }

    /// An error ends the request; a refusal, only this path.
    fn fail(&self, failure: Failure) {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*first, Some(Failure::Error(_))) {
            *first = Some(failure);
        }
    }

    fn report(&self, piece: Piece) {
        let in_range = |place: u64| place.clamp(self.start, self.end) - self.start;
        (self.copy.moved)(in_range(piece.start)..in_range(piece.end));
    }

    /// Returns up to where the file went.
    fn load(&self, piece: Piece, ring: &Mapping, slot_start: usize) -> PieceResult {
        let blocks = piece.start..piece.end;
        let reached = read_blocks(ring, slot_start, self.file, blocks, self.align_bytes)
            .map_err(failure_of(Operation::ReadFileDirectly))?;
        let (from, to) = (piece.start.max(self.start), reached.min(self.end));
        if from < to {
            let skipped = slot_start + (from - piece.start) as usize;
            self.window.copy_from(from - self.start, ring, skipped, to - from).map_err(
                |errno| Failure::Error(EngineError::io(Operation::CopyIntoBuffer, errno)),
            )?;
            self.copied.fetch_max(to, Ordering::Relaxed);
        }
        Ok(reached)
    }

    fn save(&self, piece: Piece, ring: &Mapping, slot_start: usize) -> PieceResult {
        let len_bytes = piece.end - piece.start;
        self.window
            .copy_to(piece.start - self.start, ring, slot_start, len_bytes)
            .map_err(|errno| Failure::Error(EngineError::io(Operation::CopyOutOfBuffer, errno)))?;
        let mut reached = piece.start;
        while reached < piece.end {
            let place = slot_start + (reached - piece.start) as usize;
            let range = place..place + (piece.end - reached) as usize;
            let written = ring.pwrite_as(range, self.file, reached, self.copy.file.append());
            match written.map_err(failure_of(Operation::WriteFileDirectly))? {
                0 => {
                    let operation = Operation::WriteFileDirectly;
                    return Err(Failure::Error(EngineError::io(operation, Errno::NOSPC)));
                }
                written => reached += written as u64,
            }
        }
        Ok(reached)
    }
}

type PieceResult = std::result::Result<u64, Failure>;

fn failure_of(operation: Operation) -> impl Fn(Errno) -> Failure {
    move |errno| {
        if is_refusal(errno) {
            Failure::Refused(errno)
        } else {
            Failure::Error(EngineError::io(operation, errno))
        }
    }
}

/// Reads whole blocks of a file directly to a place in memory; returns up to where the file went.
pub(super) fn read_blocks(
    memory: &Mapping,
    place: usize,
    file: BorrowedFd<'_>,
    blocks: std::ops::Range<u64>,
    align_bytes: u64,
) -> dmabuf_uapi::Result<u64> {
    let in_memory = |offset: u64| place + (offset - blocks.start) as usize;
    let mut reached = blocks.start;
    while reached < blocks.end {
        let range = in_memory(reached)..in_memory(blocks.end);
        let read = memory.pread(range, file, reached)? as u64;
        reached += read;
        // A part of a block is the last of the file; at its end there is nothing more to be read,
        // aligned or not.
        if read == 0 || read % align_bytes != 0 {
            break;
        }
    }
    Ok(reached)
}
