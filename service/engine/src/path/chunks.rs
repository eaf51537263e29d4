// SPDX-License-Identifier: Apache-2.0
//! A large load with several calls in flight: cut into chunks, which a few threads take in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use dmabuf_uapi::Result as KernelResult;

use super::batches::in_batches;
use super::range_copy::{Moved, RangeCopy};
use crate::error::Result;
use crate::operation::Operation;
use crate::request::ResolvedSegment;

/// Calls in flight, and threads, at most. Measured: of a device's best rate, loads of 128 MiB and
/// more reach 0.7 with one call, 0.9 to 1.0 with two, 1.0 with four, and hardly more with six; see
/// `vts/bench/README.md`.
const MAX_IN_FLIGHT: u64 = 4;

/// Bytes of a chunk. Measured: smaller ones are slower, larger ones no faster; and a thread costs
/// too much for less.
const CHUNK_BYTES: u64 = 32 << 20;

/// As [`in_batches`] of a load, with several calls in flight where that is faster.
///
/// # Errors
/// As [`in_batches`].
pub(super) fn in_chunks(
    copy: &RangeCopy<'_, '_>,
    direct: bool,
    operation: Operation,
    call: impl Fn(u64, usize) -> KernelResult<usize> + Sync,
) -> Result<Moved> {
    let threads = (copy.range.len_bytes / CHUNK_BYTES).min(MAX_IN_FLIGHT) as usize;
    if threads > 1 {
        Chunks::new(copy, CHUNK_BYTES, direct, operation, call).load(threads)
    } else {
        in_batches(copy, direct, operation, call)
    }
}

/// A load, cut into chunks.
struct Chunks<'a, 'b, C> {
    copy: &'a RangeCopy<'a, 'b>,
    chunk_bytes: u64,
    direct: bool,
    operation: Operation,
    call: C,
    /// Where the next chunk begins.
    next: AtomicU64,
    /// Chunks from here on are not begun.
    stop: AtomicU64,
    /// Up to where something may have been loaded.
    touched: AtomicU64,
    /// Of the chunks that did not come to their end, the first.
    incomplete: Mutex<Option<Incomplete>>,
}

/// A chunk that did not come to its end.
struct Incomplete {
    start: u64,
    outcome: Result<Moved>,
}

impl<'a, 'b, C: Fn(u64, usize) -> KernelResult<usize> + Sync> Chunks<'a, 'b, C> {
    fn new(
        copy: &'a RangeCopy<'a, 'b>,
        chunk_bytes: u64,
        direct: bool,
        operation: Operation,
        call: C,
    ) -> Self {
        Self {
            copy,
            chunk_bytes,
            direct,
            operation,
            call,
            next: AtomicU64::new(0),
            stop: AtomicU64::new(copy.range.len_bytes),
            touched: AtomicU64::new(0),
            incomplete: Mutex::new(None),
        }
    }

    /// Loads all chunks by at most so many threads, of which the calling one is one.
    fn load(self, threads: usize) -> Result<Moved> {
        self.copy.resources.threads.run("load", threads, &|_| self.work());
        self.finish()
    }

    /// Takes chunks until none are left, or one did not come to its end.
    fn work(&self) {
        loop {
            let start = self.next.fetch_add(self.chunk_bytes, Ordering::Relaxed);
            if start >= self.stop.load(Ordering::Relaxed) {
                return;
            }
            let len_bytes = self.chunk_bytes.min(self.copy.range.len_bytes - start);
            let outcome = self.load_chunk(start, len_bytes);
            let touched_bytes = match &outcome {
                Ok(Moved { bytes, refused: Some(_) }) => *bytes,
                _ => len_bytes,
            };
            if touched_bytes > 0 {
                self.touched.fetch_max(start + touched_bytes, Ordering::Relaxed);
            }
            if outcome != Ok(Moved::bytes(len_bytes)) {
                self.stop_at(Incomplete { start, outcome });
            }
        }
    }

    fn load_chunk(&self, start: u64, len_bytes: u64) -> Result<Moved> {
        let range = ResolvedSegment { len_bytes, ..self.copy.range.after(start) };
        let moved = |part: std::ops::Range<u64>| {
            (self.copy.moved)(start + part.start..start + part.end);
        };
        let chunk = RangeCopy { range, moved: &moved, ..*self.copy };
        in_batches(&chunk, self.direct, self.operation, |done, batch| {
            (self.call)(start + done, batch)
        })
    }

    fn stop_at(&self, incomplete: Incomplete) {
        self.stop.fetch_min(incomplete.start, Ordering::Relaxed);
        let mut first = self.incomplete.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|first| incomplete.start < first.start) {
            *first = Some(incomplete);
        }
    }

    /// The first chunk that did not come to its end decides how far the load came.
    fn finish(self) -> Result<Moved> {
        let incomplete = self.incomplete.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(Incomplete { start, outcome }) = incomplete else {
            return Ok(Moved::bytes(self.copy.range.len_bytes));
        };
        let moved = outcome?;
        let bytes = start + moved.bytes;
        let behind_bytes = self.touched.into_inner().saturating_sub(bytes);
        if moved.refused.is_some() || !self.direct {
            // The path that goes on from here may find that the file ends before what later chunks
            // have loaded. Where a direct load ends early, the caller zeroes the rest.
            let place = self.copy.range.buffer_offset_bytes + bytes;
            self.copy.buffer.zero(place, behind_bytes)?;
        }
        Ok(Moved { bytes, ..moved })
    }
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
mod tests;
