// SPDX-License-Identifier: Apache-2.0
//! A large direct load with several calls in flight: cut into chunks, which a few threads take in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use dmabuf_uapi::Result as KernelResult;

use super::batches::in_batches;
use super::{Direction, Progress, Transfer, BATCH_BYTES};
use crate::error::Result;

/// Calls in flight, and threads, at most. Measured: of a device's best rate, loads of 128 MiB and more reach 0.7 with one
/// call, 0.9 to 1.0 with two, 1.0 with four, and hardly more with six; see `vts/bench/README.md`.
const MAX_IN_FLIGHT: u64 = 4;

/// Bytes of a chunk. Measured: smaller ones are slower, larger ones no faster; and a thread costs too much for less.
const CHUNK_BYTES: u64 = BATCH_BYTES;

/// As [`in_batches`], with several calls in flight where that is faster and nobody follows the load.
///
/// # Errors
/// As [`in_batches`].
pub(super) fn in_flight(
    transfer: &Transfer<'_>,
    operation: &str,
    call: impl Fn(u64, usize) -> KernelResult<usize> + Sync,
) -> Result<Progress> {
    let direct_load = transfer.direction == Direction::Load && transfer.direct;
    let threads = (transfer.len_bytes / CHUNK_BYTES).min(MAX_IN_FLIGHT);
    if direct_load && transfer.batch_bytes == BATCH_BYTES && threads > 1 {
        Chunks::new(transfer, CHUNK_BYTES, operation, call).load(threads)
    } else {
        in_batches(transfer, operation, call)
    }
}

/// A load, cut into chunks.
struct Chunks<'a, C> {
    transfer: &'a Transfer<'a>,
    chunk_bytes: u64,
    operation: &'a str,
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
    outcome: Result<Progress>,
}

impl<'a, C: Fn(u64, usize) -> KernelResult<usize> + Sync> Chunks<'a, C> {
    fn new(transfer: &'a Transfer<'a>, chunk_bytes: u64, operation: &'a str, call: C) -> Self {
        Self {
            transfer,
            chunk_bytes,
            operation,
            call,
            next: AtomicU64::new(0),
            stop: AtomicU64::new(transfer.len_bytes),
            touched: AtomicU64::new(0),
            incomplete: Mutex::new(None),
        }
    }

    /// Loads all chunks by so many threads, of which the calling one is one.
    fn load(self, threads: u64) -> Result<Progress> {
        thread::scope(|scope| {
            for _ in 1..threads {
                // With fewer threads it is slower, not wrong.
                let _ = thread::Builder::new()
                    .name("load".to_owned())
                    .spawn_scoped(scope, || self.work());
            }
            self.work();
        });
        self.finish()
    }

    /// Takes chunks until there are none, or one did not come to its end.
    fn work(&self) {
        loop {
            let start = self.next.fetch_add(self.chunk_bytes, Ordering::Relaxed);
            if start >= self.stop.load(Ordering::Relaxed) {
                return;
            }
            let len_bytes = self.chunk_bytes.min(self.transfer.len_bytes - start);
            let outcome = self.load_chunk(start, len_bytes);
            let touched_bytes = match &outcome {
                Ok(Progress { bytes, refused: Some(_) }) => *bytes,
                _ => len_bytes,
            };
            if touched_bytes > 0 {
                self.touched.fetch_max(start + touched_bytes, Ordering::Relaxed);
            }
            if outcome != Ok(Progress { bytes: len_bytes, refused: None }) {
                self.stop_at(Incomplete { start, outcome });
            }
        }
    }

    fn load_chunk(&self, start: u64, len_bytes: u64) -> Result<Progress> {
        let chunk = Transfer {
            file_offset_bytes: self.transfer.file_offset_bytes + start,
            buffer_offset_bytes: self.transfer.buffer_offset_bytes + start,
            len_bytes,
            follower: &|_| {},
            ..*self.transfer
        };
        in_batches(&chunk, self.operation, |done, batch| (self.call)(start + done, batch))
    }

    fn stop_at(&self, incomplete: Incomplete) {
        self.stop.fetch_min(incomplete.start, Ordering::Relaxed);
        let mut first = self.incomplete.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|first| incomplete.start < first.start) {
            *first = Some(incomplete);
        }
    }

    /// What the first chunk that did not come to its end came to is what the load came to.
    fn finish(self) -> Result<Progress> {
        let incomplete = self.incomplete.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(Incomplete { start, outcome }) = incomplete else {
            return Ok(Progress { bytes: self.transfer.len_bytes, refused: None });
        };
        let progress = outcome?;
        let bytes = start + progress.bytes;
        let behind_bytes = self.touched.into_inner().saturating_sub(bytes);
        if progress.refused.is_some() {
            // The way that goes on from here may find that the file ends before what later chunks have loaded.
            let place = self.transfer.buffer_offset_bytes + bytes;
            self.transfer.buffer.clear(place, behind_bytes)?;
        }
        Ok(Progress { bytes, ..progress })
    }
}

#[cfg(test)]
#[path = "in_flight_tests.rs"]
mod tests;
