// SPDX-License-Identifier: Apache-2.0
//! `O_DIRECT` into aligned bounce buffers, copied into the mapped buffer: no page cache, one CPU copy, any alignment of
//! the buffer, any kernel.
//!
//! Several threads each have a bounce buffer, so that one waits for the storage while another copies.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapping::Mapping;
use dmabuf_uapi::Errno;

use super::bounce_memory::{BounceMemory, MAX_SLOTS, SLOT_BYTES};
use super::split::{direct_align, split_aligned, LoadTail, Memory};
use super::{
    is_refusal, Direction, Progress, Reason, Refusal, SegmentFacts, Split, Support, Transfer,
    TransferPath,
};
use crate::buffer::{BufferView, MappedWindow};
use crate::error::{EngineError, Result};

pub(crate) struct Bounce;

impl TransferPath for Bounce {
    fn probe(&self, _sample: &BufferView<'_>) -> Support {
        Support { supported: true, detail: "needs nothing of the kernel".into() }
    }

    fn split(&self, direct: bool, facts: &SegmentFacts<'_>) -> std::result::Result<Split, Refusal> {
        if direct {
            return Err(Refusal::new(Reason::KernelUnsupported, "this path always copies"));
        }
        match facts.direction {
            // What surrounds the range in its first and last block is read and not copied.
            Direction::Load => direct_align(facts.file).map(|_| Split {
                head_bytes: 0,
                body_bytes: facts.segment.len_bytes,
                tail_bytes: 0,
            }),
            Direction::Save => split_aligned(facts, Memory::Bounce, LoadTail::Edge),
        }
    }

    fn run(&self, transfer: &Transfer<'_>) -> Result<Progress> {
        match transfer.file.direct_fd() {
            Some(file) => move_through(transfer, file),
            None => Ok(Progress { bytes: 0, refused: Some(Errno::BADF) }),
        }
    }
}

/// Moves a range through bounce buffers, with whole blocks of the file. A save must be of whole blocks.
pub(super) fn move_through(transfer: &Transfer<'_>, file: BorrowedFd<'_>) -> Result<Progress> {
    let access = match transfer.direction {
        Direction::Load => CpuAccess::WRITE,
        Direction::Save => CpuAccess::READ,
    };
    let window = transfer.buffer.map(transfer.buffer_offset_bytes, transfer.len_bytes, access)?;
    let progress = Pipeline::new(transfer, file, &window)?.run()?;
    window.finish()?;
    Ok(progress)
}

/// One transfer, cut into pieces of a bounce buffer each, which the threads take one after the other.
struct Pipeline<'a> {
    direction: Direction,
    file: BorrowedFd<'a>,
    window: &'a MappedWindow<'a>,
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
    in_order: Mutex<InOrder>,
    follower: &'a (dyn Fn(u64) + Sync),
}

/// Pieces that are done, put in order.
#[derive(Default)]
struct InOrder {
    reached: u64,
    /// Done before one that lies before them.
    early: Vec<Piece>,
}

impl InOrder {
    /// Adds a piece; returns up to where everything is done.
    fn add(&mut self, piece: Piece) -> u64 {
        if piece.start != self.reached {
            self.early.push(piece);
            return self.reached;
        }
        self.reached = piece.end;
        while let Some(next) = self.early.iter().position(|early| early.start == self.reached) {
            self.reached = self.early.swap_remove(next).end;
        }
        self.reached
    }
}

/// Why a thread stopped before the end.
enum Failure {
    /// Another way may go on.
    Refused(Errno),
    /// No way will.
    Error(EngineError),
}

/// A piece of the file, whole blocks.
#[derive(Clone, Copy)]
struct Piece {
    start: u64,
    end: u64,
}

impl<'a> Pipeline<'a> {
    fn new(
        transfer: &'a Transfer<'_>,
        file: BorrowedFd<'a>,
        window: &'a MappedWindow<'a>,
    ) -> Result<Self> {
        let align_bytes = u64::from(transfer.file.facts().offset_align_bytes());
        let start = transfer.file_offset_bytes;
        let end = start
            .checked_add(transfer.len_bytes)
            .and_then(|end| end.checked_next_multiple_of(align_bytes).map(|_| end))
            .ok_or(EngineError::io("read the file directly", Errno::OVERFLOW))?;
        let first_block = start - start % align_bytes;
        Ok(Self {
            direction: transfer.direction,
            file,
            window,
            align_bytes,
            start,
            end,
            next: AtomicU64::new(first_block),
            reached: AtomicU64::new(end),
            copied: AtomicU64::new(start),
            failure: Mutex::new(None),
            in_order: Mutex::new(InOrder { reached: first_block, early: Vec::new() }),
            follower: transfer.follower,
        })
    }

    fn run(self) -> Result<Progress> {
        let first_block = self.next.load(Ordering::Relaxed);
        let pieces = (self.end - first_block).div_ceil(SLOT_BYTES);
        let threads = usize::try_from(pieces).map_or(MAX_SLOTS, |n| n.min(MAX_SLOTS));
        let slot_bytes =
            (self.end.next_multiple_of(self.align_bytes) - first_block).min(SLOT_BYTES);
        let ring = BounceMemory::new(slot_bytes, threads)?;
        let others = 1..threads;
        if others.is_empty() {
            self.work(&ring, 0);
            return self.finish();
        }
        thread::scope(|scope| {
            for slot in others {
                let (pipeline, ring): (_, &Mapping) = (&self, &ring);
                // With fewer threads it is slower, not wrong.
                let _ = thread::Builder::new()
                    .name("bounce".to_owned())
                    .spawn_scoped(scope, move || pipeline.work(ring, slot));
            }
            self.work(&ring, 0);
        });
        self.finish()
    }

    /// What the transfer came to.
    fn finish(self) -> Result<Progress> {
        let reached = self.reached.into_inner().max(self.start);
        let bytes = reached - self.start;
        let copied = self.copied.into_inner();
        if copied > reached {
            // The file became shorter and longer again meanwhile.
            self.window
                .fill_zero(bytes, copied - reached)
                .map_err(|errno| EngineError::io("clear what lies behind the end", errno))?;
        }
        match self.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Failure::Error(error)) => Err(error),
            Some(Failure::Refused(errno)) => Ok(Progress { bytes, refused: Some(errno) }),
            None => Ok(Progress { bytes, refused: None }),
        }
    }

    /// Takes pieces until there are none, or something has ended the transfer before them.
    fn work(&self, ring: &Mapping, slot: usize) {
        let slot_start = slot * SLOT_BYTES as usize;
        loop {
            let start = self.next.fetch_add(SLOT_BYTES, Ordering::Relaxed);
            if start >= self.reached.load(Ordering::Relaxed) {
                return;
            }
            let end = (start + SLOT_BYTES).min(self.end.next_multiple_of(self.align_bytes));
            let moved = match self.direction {
                Direction::Load => self.load(Piece { start, end }, ring, slot_start),
                Direction::Save => self.save(Piece { start, end }, ring, slot_start),
            };
            match moved {
                Ok(reached) if reached < end => {
                    self.reached.fetch_min(reached, Ordering::Relaxed);
                }
                Ok(_) => self.report(Piece { start, end }),
                Err(failure) => {
                    self.reached.fetch_min(start, Ordering::Relaxed);
                    let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    // An error ends the request; a refusal, only this way.
                    if !matches!(*first, Some(Failure::Error(_))) {
                        *first = Some(failure);
                    }
                    return;
                }
            }
        }
    }

    fn report(&self, piece: Piece) {
        let mut in_order = self.in_order.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = in_order.add(piece).clamp(self.start, self.end);
        (self.follower)(reached - self.start);
    }

    /// Returns up to where the file went.
    fn load(&self, piece: Piece, ring: &Mapping, slot_start: usize) -> Moved {
        let blocks = piece.start..piece.end;
        let reached = read_blocks(ring, slot_start, self.file, blocks, self.align_bytes)
            .map_err(failure_of("read"))?;
        let (from, to) = (piece.start.max(self.start), reached.min(self.end));
        if from < to {
            let skipped = slot_start + (from - piece.start) as usize;
            self.window
                .copy_in(from - self.start, ring, skipped, to - from)
                .map_err(|errno| Failure::Error(EngineError::io("copy into the buffer", errno)))?;
            self.copied.fetch_max(to, Ordering::Relaxed);
        }
        Ok(reached)
    }

    fn save(&self, piece: Piece, ring: &Mapping, slot_start: usize) -> Moved {
        let len_bytes = piece.end - piece.start;
        self.window
            .copy_out(piece.start - self.start, ring, slot_start, len_bytes)
            .map_err(|errno| Failure::Error(EngineError::io("copy out of the buffer", errno)))?;
        let mut reached = piece.start;
        while reached < piece.end {
            let place = slot_start + (reached - piece.start) as usize;
            let range = place..place + (piece.end - reached) as usize;
            match ring.pwrite(range, self.file, reached).map_err(failure_of("write"))? {
                0 => {
                    let operation = "write the file directly";
                    return Err(Failure::Error(EngineError::io(operation, Errno::NOSPC)));
                }
                written => reached += written as u64,
            }
        }
        Ok(reached)
    }
}

type Moved = std::result::Result<u64, Failure>;

fn failure_of(verb: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| {
        if is_refusal(errno) {
            Failure::Refused(errno)
        } else {
            Failure::Error(EngineError::io(format!("{verb} the file directly"), errno))
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
        // A part of a block is the last of the file; at its end there is nothing more to be read, aligned or not.
        if read == 0 || read % align_bytes != 0 {
            break;
        }
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_count_when_all_before_them_are_done() {
        let mut in_order = InOrder { reached: 10, early: Vec::new() };
        assert_eq!(in_order.add(Piece { start: 20, end: 30 }), 10);
        assert_eq!(in_order.add(Piece { start: 40, end: 50 }), 10);
        assert_eq!(in_order.add(Piece { start: 10, end: 20 }), 30);
        assert_eq!(in_order.add(Piece { start: 30, end: 40 }), 50);
    }
}
