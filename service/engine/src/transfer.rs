// SPDX-License-Identifier: Apache-2.0
//! Carries out plans: moves the segments of a request run by run, down the list of ways where a kernel refuses.

use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::Errno;

use crate::buffer::BufferView;
use crate::error::{errno_text, EngineError, Result};
use crate::file::OpenFile;
use crate::path::{
    Direction, Path, Progress, Reason, Refusal, SegmentFacts, Transfer, Way, BATCH_BYTES,
};
use crate::plan::{no_way, plan_segment, NotTaken, PathSupports};
use crate::report::Report;
use crate::request::{Policy, ResolvedSegment};
use crate::watermarks::Watermarks;

/// Bytes per call where somebody follows what is loaded.
const FOLLOWED_BATCH_BYTES: u64 = 4 << 20;

/// A request whose arguments are checked.
pub(crate) struct Job<'a> {
    pub(crate) direction: Direction,
    pub(crate) policy: Policy,
    pub(crate) supports: PathSupports,
    pub(crate) buffer: BufferView<'a>,
    pub(crate) files: &'a [OpenFile<'a>],
    pub(crate) segments: &'a [ResolvedSegment],
}

impl Job<'_> {
    /// The ranges that are going to be moved.
    pub(crate) fn runs(&self) -> Vec<Run> {
        merge_adjacent(self.segments)
    }

    /// Moves every run; returns the bytes of each segment. Tells the watermarks, if there are any, how far it is.
    pub(crate) fn run(
        &self,
        runs: &[Run],
        watermarks: Option<&Watermarks>,
        report: &mut Report,
    ) -> Result<Vec<u64>> {
        let mut moved_bytes = vec![0; self.segments.len()];
        for (number, run) in runs.iter().enumerate() {
            let reach = |place| {
                if let Some(marks) = watermarks {
                    marks.reach(number, place);
                }
            };
            let batch_bytes = watermarks.map_or(BATCH_BYTES, |_| FOLLOWED_BATCH_BYTES);
            let follower = Follower { reach: &reach, batch_bytes };
            let mut left = self.move_run(run, &follower, report)?;
            for index in &run.indices {
                moved_bytes[*index] = left.min(self.segments[*index].len_bytes);
                left -= moved_bytes[*index];
            }
            if let Some(marks) = watermarks {
                marks.end(number);
            }
        }
        Ok(moved_bytes)
    }

    /// Moves one run; returns its bytes.
    fn move_run(&self, run: &Run, follower: &Follower<'_>, report: &mut Report) -> Result<u64> {
        let argument = run.argument();
        let segment = run.range;
        let file = &self.files[segment.file_index];
        let facts_of = |segment| SegmentFacts {
            direction: self.direction,
            file: file.facts(),
            segment,
            buffer_is_backed: self.buffer.backing.is_some(),
        };
        let plan = plan_segment(&argument, self.policy, &self.supports, &facts_of(segment))?;
        let mut refused: Vec<NotTaken> = Vec::new();
        plan.not_taken.into_iter().for_each(|not_taken| report.explain(not_taken));
        let mut rest = segment;
        for way in plan.ways {
            report.count(way, 0);
            let moved = self.move_rest(way, file, &facts_of(rest), follower, report)?;
            rest = advance(rest, moved.bytes);
            match moved.refused {
                None => return self.finish_segment(segment, rest),
                Some(refusal) => {
                    report.explain(NotTaken { way, refusal: refusal.clone() });
                    refused.push(NotTaken { way, refusal });
                }
            }
        }
        Err(no_way(&argument, self.policy, &refused))
    }

    fn finish_segment(&self, segment: ResolvedSegment, rest: ResolvedSegment) -> Result<u64> {
        if self.direction == Direction::Save && rest.len_bytes > 0 {
            return Err(EngineError::io("save: the kernel wrote nothing", Errno::IO));
        }
        Ok(segment.len_bytes - rest.len_bytes)
    }

    /// Moves what is left of a segment by one way: head, body, tail, up to a refusal or the end of the file.
    fn move_rest(
        &self,
        way: Way,
        file: &OpenFile<'_>,
        facts: &SegmentFacts<'_>,
        follower: &Follower<'_>,
        report: &mut Report,
    ) -> Result<Moved> {
        let split = match way.path.implementation().split(way.direct, facts) {
            Ok(split) => split,
            Err(refusal) => return Ok(Moved { bytes: 0, refused: Some(refusal) }),
        };
        let edge_way = self.edge_way(file);
        let mut rest = facts.segment;
        for (part_way, len_bytes) in
            [(edge_way, split.head_bytes), (way, split.body_bytes), (edge_way, split.tail_bytes)]
        {
            if len_bytes == 0 {
                continue;
            }
            let part = ResolvedSegment { len_bytes, ..rest };
            let progress = self.move_part(part_way, file, &part, follower)?;
            (follower.reach)(rest.buffer_offset_bytes + progress.bytes);
            report.count(part_way, progress.bytes);
            rest = advance(rest, progress.bytes);
            if let Some(errno) = progress.refused {
                let bytes = facts.segment.len_bytes - rest.len_bytes;
                return Ok(Moved { bytes, refused: Some(refusal_of(errno)) });
            }
            if progress.bytes < len_bytes {
                if part_way.direct && self.direction == Direction::Load {
                    self.clear_last_block(file, &rest)?;
                }
                break;
            }
        }
        Ok(Moved { bytes: facts.segment.len_bytes - rest.len_bytes, refused: None })
    }

    /// The way of edges: a load reads their blocks directly, aside, where it can, so that the page cache stays as it is.
    fn edge_way(&self, file: &OpenFile<'_>) -> Way {
        let aside = self.direction == Direction::Load && file.direct_fd().is_some();
        let path = if aside { Path::Bounce } else { Path::Buffered };
        Way { path, direct: false }
    }

    /// Clears what a direct read of a file that has become shorter may have left of the block that holds its end: what
    /// the storage had there is nobody's.
    fn clear_last_block(&self, file: &OpenFile<'_>, rest: &ResolvedSegment) -> Result<()> {
        let align = u64::from(file.facts().offset_align_bytes());
        let block_end = rest.file_offset_bytes.next_multiple_of(align);
        let len_bytes = (block_end - rest.file_offset_bytes).min(rest.len_bytes);
        if len_bytes == 0 {
            return Ok(());
        }
        let window = self.buffer.map(rest.buffer_offset_bytes, len_bytes, CpuAccess::WRITE)?;
        window
            .fill_zero(0, len_bytes)
            .map_err(|errno| EngineError::io("clear the rest of a block", errno))?;
        window.finish()
    }

    fn move_part(
        &self,
        way: Way,
        file: &OpenFile<'_>,
        part: &ResolvedSegment,
        follower: &Follower<'_>,
    ) -> Result<Progress> {
        way.path.implementation().run(&Transfer {
            direction: self.direction,
            direct: way.direct,
            file,
            file_offset_bytes: part.file_offset_bytes,
            buffer: &self.buffer,
            buffer_offset_bytes: part.buffer_offset_bytes,
            len_bytes: part.len_bytes,
            batch_bytes: follower.batch_bytes,
            follower: &|bytes| (follower.reach)(part.buffer_offset_bytes + bytes),
        })
    }
}

/// Who wants to know how far a run is.
struct Follower<'a> {
    /// Told up to where in the buffer it is loaded.
    reach: &'a (dyn Fn(u64) + Sync),
    batch_bytes: u64,
}

/// Segments that follow each other in the file as well as in the buffer: one range to move.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) range: ResolvedSegment,
    /// The segments, in the order of their places.
    pub(crate) indices: Vec<usize>,
}

impl Run {
    /// How errors name it: by the first of its segments in the request.
    fn argument(&self) -> String {
        format!("segments[{}]", self.indices.iter().min().copied().unwrap_or_default())
    }
}

/// Joins adjacent segments, whatever their order in the request.
fn merge_adjacent(segments: &[ResolvedSegment]) -> Vec<Run> {
    let mut order: Vec<usize> = (0..segments.len()).collect();
    order.sort_by_key(|index| (segments[*index].file_index, segments[*index].file_offset_bytes));
    let mut runs: Vec<Run> = Vec::new();
    for index in order {
        let next = segments[index];
        match runs.last_mut() {
            Some(run) if continues(&run.range, &next) => {
                run.range.len_bytes += next.len_bytes;
                run.indices.push(index);
            }
            _ => runs.push(Run { range: next, indices: vec![index] }),
        }
    }
    runs
}

fn continues(range: &ResolvedSegment, next: &ResolvedSegment) -> bool {
    range.file_index == next.file_index
        && range.file_end_bytes() == next.file_offset_bytes
        && range.buffer_end_bytes() == next.buffer_offset_bytes
}

struct Moved {
    bytes: u64,
    refused: Option<Refusal>,
}

fn advance(segment: ResolvedSegment, bytes: u64) -> ResolvedSegment {
    ResolvedSegment {
        file_index: segment.file_index,
        file_offset_bytes: segment.file_offset_bytes + bytes,
        buffer_offset_bytes: segment.buffer_offset_bytes + bytes,
        len_bytes: segment.len_bytes - bytes,
    }
}

fn refusal_of(errno: Errno) -> Refusal {
    match errno {
        Errno::BUSY => Refusal::new(
            Reason::BufferBusy,
            format!("the buffer is in use by a device or the kernel: {}", errno_text(errno)),
        ),
        _ => Refusal::new(
            Reason::RefusedByKernel,
            format!("the kernel refused: {}", errno_text(errno)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(file_index: usize, place: u64, buffer: u64, len_bytes: u64) -> ResolvedSegment {
        ResolvedSegment {
            file_index,
            file_offset_bytes: place,
            buffer_offset_bytes: buffer,
            len_bytes,
        }
    }

    fn merged(segments: &[ResolvedSegment]) -> Vec<(ResolvedSegment, Vec<usize>)> {
        merge_adjacent(segments).into_iter().map(|run| (run.range, run.indices)).collect()
    }

    #[test]
    fn neighbours_in_file_and_buffer_become_one_run() {
        let segments = [segment(0, 10, 110, 5), segment(0, 0, 100, 10), segment(0, 15, 115, 1)];
        assert_eq!(merged(&segments), [(segment(0, 0, 100, 16), vec![1, 0, 2])]);
    }

    #[test]
    fn what_is_apart_in_either_stays_apart() {
        let apart = [
            segment(0, 0, 0, 10),
            segment(0, 10, 11, 10),
            segment(0, 21, 21, 10),
            segment(1, 31, 31, 10),
        ];
        assert_eq!(merged(&apart).len(), 4);
    }

    #[test]
    fn a_run_is_named_by_its_first_segment_in_the_request() {
        let segments = [segment(0, 10, 110, 5), segment(0, 0, 100, 10)];
        assert_eq!(merge_adjacent(&segments)[0].argument(), "segments[0]");
    }
}
