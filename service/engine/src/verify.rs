// SPDX-License-Identifier: Apache-2.0
//! A load and the digest of what it has put into the buffer, taken while the load goes on where that pays.

use std::thread;
use std::time::Instant;

use dmabuf_uapi::Errno;

use crate::digest::{sha256_as_it_comes, sha256_of_ranges, Sha256};
use crate::error::{EngineError, Result};
use crate::report::Report;
use crate::request::LoadRequest;
use crate::runs::{covered_bytes, filled_ranges, Run};
use crate::transfer::Job;
use crate::watermarks::Watermarks;

/// From here on a thread takes the digest while the load goes on.
const OVERLAP_FROM_BYTES: u64 = 8 << 20;

/// Bytes per segment, and the digest where the request wants one.
type Loaded = (Vec<u64>, Option<Sha256>);

/// Runs a load and, where the request wants it, digests the bytes in the buffer. What the digest takes longer than the load
/// is its own time in the report.
///
/// # Errors
/// Those of the load, and [`EngineError::DigestMismatch`].
pub(crate) fn load(
    job: &Job<'_>,
    request: &LoadRequest<'_>,
    report: &mut Report,
) -> Result<Loaded> {
    let runs = job.runs();
    if request.expected_sha256.is_none() && !request.report_sha256 {
        return Ok((job.run(&runs, None, report)?, None));
    }
    let (segment_bytes, actual) = if covered_bytes(job.segments) < OVERLAP_FROM_BYTES {
        load_then_digest(job, &runs, report)?
    } else {
        load_and_digest(job, &runs, report)?
    };
    match (request.expected_sha256, actual) {
        (Some(expected), Some(actual)) if expected != actual => Err(EngineError::DigestMismatch {
            expected: expected.to_string(),
            actual: actual.to_string(),
        }),
        _ => Ok((segment_bytes, actual)),
    }
}

fn load_then_digest(job: &Job<'_>, runs: &[Run], report: &mut Report) -> Result<Loaded> {
    let segment_bytes = job.run(runs, None, report)?;
    let begin = Instant::now();
    let ranges: Vec<(u64, u64)> = filled_ranges(job.segments, &segment_bytes).collect();
    let sha256 = sha256_of_ranges(&job.buffer, &ranges)?;
    report.verify = begin.elapsed();
    Ok((segment_bytes, Some(sha256)))
}

/// Closes the watermarks when it is dropped, by a panic, too.
struct Closing<'a>(&'a Watermarks);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn load_and_digest(job: &Job<'_>, runs: &[Run], report: &mut Report) -> Result<Loaded> {
    let watermarks = Watermarks::new(runs, job.segments.len());
    thread::scope(|scope| {
        let hasher = thread::Builder::new()
            .name("digest".to_owned())
            .spawn_scoped(scope, || sha256_as_it_comes(&job.buffer, job.segments, &watermarks))
            .map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
                EngineError::io("start a thread for the digest", errno)
            })?;
        let moved = {
            // Whatever ends the load, the digest must not wait for the rest of it.
            let _closing = Closing(&watermarks);
            job.run(runs, Some(&watermarks), report)
        };
        let begin = Instant::now();
        let digested = hasher.join();
        report.verify = begin.elapsed();
        let segment_bytes = moved?;
        let sha256 =
            digested.map_err(|_| EngineError::io("digest: the thread has panicked", Errno::IO))?;
        Ok((segment_bytes, sha256?))
    })
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::request::ResolvedSegment;

    #[test]
    fn nobody_waits_for_a_load_that_panicked() {
        let range = ResolvedSegment {
            file_index: 0,
            file_offset_bytes: 0,
            buffer_offset_bytes: 0,
            len_bytes: 1,
        };
        let watermarks = Watermarks::new(&[Run { range, indices: smallvec![0] }], 1);
        thread::scope(|scope| {
            let follower = scope.spawn(|| watermarks.wait_beyond(0, 0));
            let load = scope.spawn(|| {
                let _closing = Closing(&watermarks);
                panic!("as a load would");
            });
            assert!(load.join().is_err());
            assert_eq!(follower.join().unwrap(), None);
        });
    }
}
