// SPDX-License-Identifier: Apache-2.0
//! Executes a plan: moves the extents of a request step by step, down their lists of candidates
//! where the kernel refuses.

mod digest;
mod progress;
mod report;

use std::ops::Range;

use dmabuf_uapi::Errno;

use crate::buffer::CpuView;
use crate::context::Context;
use crate::error::{EngineError, Result};
use crate::file::OpenFile;
use crate::io_path::{Direction, IoPath, NotTaken, Refusal};
use crate::operation::Operation;
use crate::path::{self, load_coalesced, IoResources, Moved, RangeCopy};
use crate::plan::{divide, no_path, unaligned_path, PlannedExtent, Step};
use crate::request::{Policy, ResolvedSegment};

use progress::TransferProgress;

pub(crate) use digest::load_and_digest;
pub use report::Report;

/// Bytes per call: smaller calls are slower, and whoever cancels waits for no more than those in
/// flight.
const BATCH_BYTES: u64 = 32 << 20;

/// Bytes per call where somebody is told of the progress.
const WATCHED_BATCH_BYTES: u64 = 4 << 20;

/// A request that is planned and has its buffer.
pub(crate) struct Transfer<'a, 'b> {
    pub(crate) direction: Direction,
    pub(crate) policy: Policy,
    pub(crate) files: &'a [OpenFile],
    pub(crate) segments: &'a [ResolvedSegment],
    pub(crate) steps: &'a [Step],
    pub(crate) buffer: &'a CpuView<'b>,
    pub(crate) resources: &'a IoResources,
    pub(crate) context: &'a Context,
}

impl Transfer<'_, '_> {
    /// Moves everything and tells the request's sink, if it has one, how far it is; returns the
    /// bytes of each segment.
    ///
    /// # Errors
    /// Any [`EngineError`].
    pub(crate) fn run(&self, report: &mut Report) -> Result<Vec<u64>> {
        let progress = self.context.progress.is_some().then(|| self.progress());
        self.run_watched(progress.as_ref(), report)
    }

    /// How far this transfer is: nowhere.
    fn progress(&self) -> TransferProgress {
        let extents = self.steps.iter().flat_map(|step| &step.extents);
        TransferProgress::new(
            extents.map(|planned| &planned.extent),
            self.segments.len(),
            self.context.progress.clone(),
        )
    }

    fn run_watched(
        &self,
        progress: Option<&TransferProgress>,
        report: &mut Report,
    ) -> Result<Vec<u64>> {
        let mut moved_bytes = vec![0; self.segments.len()];
        let mut number = 0;
        for step in self.steps {
            self.context.check()?;
            let coalesced =
                if step.extents.len() > 1 { self.run_coalesced(step, report)? } else { None };
            for (place, planned) in step.extents.iter().enumerate() {
                let mut left = match &coalesced {
                    Some(moved) => moved[place],
                    None => self.run_extent(planned, number, progress, report)?,
                };
                if let Some(progress) = progress {
                    progress.end(number, left);
                }
                for index in &planned.extent.segments {
                    moved_bytes[*index] = left.min(self.segments[*index].len_bytes);
                    left -= moved_bytes[*index];
                }
                number += 1;
            }
        }
        Ok(moved_bytes)
    }

    /// Moves the extents of a step by one read; `None` where the kernel refuses.
    fn run_coalesced(&self, step: &Step, report: &mut Report) -> Result<Option<Vec<u64>>> {
        let ranges: Vec<ResolvedSegment> =
            step.extents.iter().map(|planned| planned.extent.range).collect();
        let file = &self.files[ranges[0].file_index];
        let moved = load_coalesced(file, &ranges, self.buffer, self.resources, self.context)?;
        if let Some(moved) = &moved {
            let not_taken = step.extents.iter().flat_map(|planned| &planned.not_taken);
            not_taken.for_each(|not_taken| report.explain(not_taken));
            report.count(IoPath::Bounce, moved.iter().sum());
        }
        Ok(moved)
    }

    /// Moves one extent, of this number, by the first candidate that the kernel does not refuse;
    /// returns its bytes.
    fn run_extent(
        &self,
        planned: &PlannedExtent,
        number: usize,
        progress: Option<&TransferProgress>,
        report: &mut Report,
    ) -> Result<u64> {
        planned.not_taken.iter().for_each(|not_taken| report.explain(not_taken));
        let range = planned.extent.range;
        let file = &self.files[range.file_index];
        let is_backed = self.buffer.buffer().backing.is_some();
        let mut refused: Vec<NotTaken> = Vec::new();
        let mut done = 0;
        for candidate in &planned.candidates {
            let path = candidate.path;
            let rest = range.after(done);
            let divided = match done {
                0 => Ok(candidate.division),
                // Another path has moved a part.
                _ => divide(path, self.direction, file.facts(), rest, is_backed),
            };
            let refusal = match divided {
                Ok(division) => {
                    report.count(path, 0);
                    let parts = [
                        (unaligned_path(self.direction), division.head_bytes),
                        (path, division.body_bytes),
                        (unaligned_path(self.direction), division.tail_bytes),
                    ];
                    let moved = |part: Range<u64>| {
                        if let Some(progress) = progress {
                            progress.moved(number, done + part.start..done + part.end);
                        }
                    };
                    let batch_bytes = progress.map_or(BATCH_BYTES, |_| WATCHED_BATCH_BYTES);
                    let Moved { bytes, refused } =
                        self.run_parts(file, rest, parts, batch_bytes, &moved, report)?;
                    done += bytes;
                    match refused {
                        None => return self.finish_extent(range, done),
                        Some(errno) => Refusal::of_attempt(errno),
                    }
                }
                Err(refusal) => refusal,
            };
            if let Some(progress) = progress {
                progress.forget_early(number);
            }
            let not_taken = NotTaken { path, refusal };
            report.explain(&not_taken);
            refused.push(not_taken);
        }
        Err(no_path(planned.extent.first_segment(), self.policy, file.facts(), &refused))
    }

    fn finish_extent(&self, range: ResolvedSegment, done: u64) -> Result<u64> {
        if self.direction == Direction::Save && done < range.len_bytes {
            return Err(EngineError::io(Operation::CopyRangeToFile, Errno::IO));
        }
        Ok(done)
    }

    /// Moves head, body and tail, up to a refusal or the end of the file. `moved` counts from the
    /// start of the range.
    fn run_parts(
        &self,
        file: &OpenFile,
        range: ResolvedSegment,
        parts: [(IoPath, u64); 3],
        batch_bytes: u64,
        moved: &(dyn Fn(Range<u64>) + Sync),
        report: &mut Report,
    ) -> Result<Moved> {
        let mut done = 0;
        for (path, len_bytes) in parts.into_iter().filter(|(_, len_bytes)| *len_bytes > 0) {
            let part = ResolvedSegment { len_bytes, ..range.after(done) };
            let part_moved = |bytes: Range<u64>| moved(done + bytes.start..done + bytes.end);
            let copy = RangeCopy {
                direction: self.direction,
                file,
                buffer: self.buffer,
                range: part,
                batch_bytes,
                resources: self.resources,
                context: self.context,
                moved: &part_moved,
            };
            let outcome = path::run(path, &copy)?;
            report.count(path, outcome.bytes);
            done += outcome.bytes;
            if outcome.refused.is_some() {
                return Ok(Moved { bytes: done, ..outcome });
            }
            if outcome.bytes < len_bytes {
                if path.is_direct() && self.direction == Direction::Load {
                    // A direct read of a file that became shorter meanwhile may leave something
                    // behind the end that it reports: the rest of the last block, and blocks that
                    // were read before the file was cut.
                    let rest = range.after(done);
                    self.buffer.zero(rest.buffer_offset_bytes, rest.len_bytes)?;
                }
                break;
            }
        }
        Ok(Moved { bytes: done, refused: None })
    }
}
