// SPDX-License-Identifier: Apache-2.0
//! Carries out plans: moves the segments of a request one after another, down the list of ways where a kernel refuses.

use dmabuf_uapi::Errno;

use crate::buffer::BufferView;
use crate::error::{errno_text, EngineError, Result};
use crate::file::OpenFile;
use crate::path::{Direction, Path, Progress, Reason, Refusal, SegmentFacts, Transfer, Way};
use crate::plan::{no_way, plan_segment, NotTaken, PathSupports};
use crate::report::Report;
use crate::request::{Policy, ResolvedSegment};

/// The way of edges.
const EDGE_WAY: Way = Way { path: Path::Buffered, direct: false };

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
    /// Moves every segment; returns the bytes of each.
    pub(crate) fn run(&self, report: &mut Report) -> Result<Vec<u64>> {
        (0..self.segments.len()).map(|index| self.run_segment(index, report)).collect()
    }

    fn run_segment(&self, index: usize, report: &mut Report) -> Result<u64> {
        let argument = format!("segments[{index}]");
        let segment = self.segments[index];
        let file = &self.files[segment.file_index];
        let facts_of =
            |segment| SegmentFacts { direction: self.direction, file: file.facts(), segment };
        let plan = plan_segment(&argument, self.policy, &self.supports, &facts_of(segment))?;
        let mut refused: Vec<NotTaken> = Vec::new();
        plan.not_taken.into_iter().for_each(|not_taken| report.explain(not_taken));
        let mut rest = segment;
        for way in plan.ways {
            report.count(way, 0);
            let moved = self.move_rest(way, file, &facts_of(rest), report)?;
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
        report: &mut Report,
    ) -> Result<Moved> {
        let split = match way.path.implementation().split(way.direct, facts) {
            Ok(split) => split,
            Err(refusal) => return Ok(Moved { bytes: 0, refused: Some(refusal) }),
        };
        let mut rest = facts.segment;
        for (part_way, len_bytes) in
            [(EDGE_WAY, split.head_bytes), (way, split.body_bytes), (EDGE_WAY, split.tail_bytes)]
        {
            if len_bytes == 0 {
                continue;
            }
            let progress =
                self.move_part(part_way, file, &ResolvedSegment { len_bytes, ..rest })?;
            report.count(part_way, progress.bytes);
            rest = advance(rest, progress.bytes);
            if let Some(errno) = progress.refused {
                let bytes = facts.segment.len_bytes - rest.len_bytes;
                return Ok(Moved { bytes, refused: Some(refusal_of(errno)) });
            }
            if progress.bytes < len_bytes {
                break;
            }
        }
        Ok(Moved { bytes: facts.segment.len_bytes - rest.len_bytes, refused: None })
    }

    fn move_part(&self, way: Way, file: &OpenFile<'_>, part: &ResolvedSegment) -> Result<Progress> {
        way.path.implementation().run(&Transfer {
            direction: self.direction,
            direct: way.direct,
            file,
            file_offset_bytes: part.file_offset_bytes,
            buffer: &self.buffer,
            buffer_offset_bytes: part.buffer_offset_bytes,
            len_bytes: part.len_bytes,
        })
    }
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
