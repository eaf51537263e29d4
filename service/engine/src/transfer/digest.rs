// SPDX-License-Identifier: Apache-2.0
//! A load and the SHA-256 of what it has put into the buffer, taken while the load goes on where
//! that pays. The one place that knows the digest library.

use std::time::Instant;

use super::progress::TransferProgress;
use super::report::Report;
use super::Transfer;
use crate::error::{EngineError, Result};
use crate::operation::Operation;
use crate::request::{covered_bytes, filled_ranges, DigestRequest, Sha256};

/// From here on a thread takes the digest while the load goes on.
const OVERLAP_FROM_BYTES: u64 = 8 << 20;

/// How much is copied out of the buffer at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Bytes per segment, and the digest where the request wants one.
type Loaded = (Vec<u64>, Option<Sha256>);

/// Runs a load and, where the request wants it, digests the bytes in the buffer. What the digest
/// takes longer than the load is its own time in the report.
///
/// # Errors
/// Those of the load, and [`EngineError::DigestMismatch`].
pub(crate) fn load_and_digest(
    transfer: &Transfer<'_, '_>,
    digests: &DigestRequest,
    report: &mut Report,
) -> Result<Loaded> {
    if !digests.wants_sha256() {
        return Ok((transfer.run(report)?, None));
    }
    let overlapped = if covered_bytes(transfer.segments) < OVERLAP_FROM_BYTES {
        None
    } else {
        load_beside_digest(transfer, report)
    };
    let (segment_bytes, actual) = match overlapped {
        Some(loaded) => loaded?,
        None => load_then_digest(transfer, report)?,
    };
    match (digests.expected_sha256, actual) {
        (Some(expected), Some(actual)) if expected != actual => Err(EngineError::DigestMismatch {
            expected: expected.to_string(),
            actual: actual.to_string(),
        }),
        _ => Ok((segment_bytes, actual)),
    }
}

fn load_then_digest(transfer: &Transfer<'_, '_>, report: &mut Report) -> Result<Loaded> {
    let segment_bytes = transfer.run(report)?;
    let begin = Instant::now();
    let mut hasher = Hasher::default();
    for (offset_bytes, len_bytes) in filled_ranges(transfer.segments, &segment_bytes) {
        hasher.update_from(transfer, offset_bytes, len_bytes)?;
    }
    report.verify = begin.elapsed();
    Ok((segment_bytes, Some(hasher.finish())))
}

/// Closes the progress when it is dropped, by a panic, too.
struct Closing<'a>(&'a TransferProgress);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// `None` where no thread is left for the digest, and then nothing was loaded.
fn load_beside_digest(transfer: &Transfer<'_, '_>, report: &mut Report) -> Option<Result<Loaded>> {
    let progress = transfer.progress();
    let digest = || sha256_as_it_comes(transfer, &progress);
    let load = || {
        // Whatever ends the load, the digest must not wait for the rest of it.
        let closing = Closing(&progress);
        let moved = transfer.run_watched(Some(&progress), report);
        drop(closing);
        (moved, Instant::now())
    };
    let (digested, (moved, loaded_at)) =
        transfer.resources.threads.run_beside("digest", digest, load)?;
    report.verify = loaded_at.elapsed();
    Some(moved.and_then(|segment_bytes| {
        let sha256 = digested.map_err(|_| EngineError::Panicked { thread: "digest" })??;
        Ok((segment_bytes, sha256))
    }))
}

/// Digests segments while they are being loaded, in their order; `None` if the load fails.
fn sha256_as_it_comes(
    transfer: &Transfer<'_, '_>,
    progress: &TransferProgress,
) -> Result<Option<Sha256>> {
    let mut hasher = Hasher::default();
    for (index, segment) in transfer.segments.iter().enumerate() {
        let end = segment.buffer_end_bytes();
        let mut done = segment.buffer_offset_bytes;
        while done < end {
            let Some(reached) = progress.wait_beyond(index, done) else { return Ok(None) };
            let reached = reached.min(end);
            if reached == done {
                break;
            }
            hasher.update_from(transfer, done, reached - done)?;
            done = reached;
        }
    }
    Ok(Some(hasher.finish()))
}

struct Hasher {
    context: ring::digest::Context,
    piece: Vec<u8>,
}

impl Default for Hasher {
    fn default() -> Self {
        let context = ring::digest::Context::new(&ring::digest::SHA256);
        Self { context, piece: vec![0; PIECE_BYTES] }
    }
}

impl Hasher {
    /// Digests a range of the transfer's buffer, in bytes.
    fn update_from(
        &mut self,
        transfer: &Transfer<'_, '_>,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> Result<()> {
        if len_bytes == 0 {
            return Ok(());
        }
        let window = transfer.buffer.window(offset_bytes, len_bytes)?;
        let mut done: u64 = 0;
        while done < len_bytes {
            transfer.context.check()?;
            let count = (len_bytes - done).min(PIECE_BYTES as u64) as usize;
            let piece = &mut self.piece[..count];
            window
                .read(done, piece)
                .map_err(|errno| EngineError::io(Operation::DigestBuffer, errno))?;
            self.context.update(piece);
            done += count as u64;
        }
        Ok(())
    }

    fn finish(self) -> Sha256 {
        let mut digest = Sha256([0; 32]);
        digest.0.copy_from_slice(self.context.finish().as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::request::{Extent, ResolvedSegment};

    #[test]
    fn nobody_waits_for_a_load_that_panicked() {
        let range = ResolvedSegment {
            file_index: 0,
            file_offset_bytes: 0,
            buffer_offset_bytes: 0,
            len_bytes: 1,
        };
        let extents = [Extent { range, segments: vec![0] }];
        let progress = TransferProgress::new(extents.iter(), 1, None);
        thread::scope(|scope| {
            let digest = scope.spawn(|| progress.wait_beyond(0, 0));
            let load = scope.spawn(|| {
                let _closing = Closing(&progress);
                panic!("as a load would");
            });
            assert!(load.join().is_err());
            assert_eq!(digest.join().unwrap(), None);
        });
    }
}
