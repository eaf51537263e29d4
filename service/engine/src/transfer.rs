// SPDX-License-Identifier: Apache-2.0
//! Carries out plans: moves the segments of a request run by run, down the list of ways where a kernel refuses.

use dmabuf_uapi::Errno;

use crate::buffer::BufferView;
use crate::error::{errno_text, EngineError, Result};
use crate::file::OpenFile;
use crate::path::{
    gather, Direction, Path, Progress, Reason, Refusal, SegmentFacts, Transfer, Way, BATCH_BYTES,
};
use crate::plan::{no_way, plan_segment, verdicts, NotTaken, PathSupports};
use crate::report::Report;
use crate::request::{Policy, ResolvedSegment};
use crate::runs::{merge_adjacent, Run, Runs};
use crate::watermarks::Watermarks;

/// The way of small ranges that are read together.
const BOUNCED: Way = Way { path: Path::Bounce, direct: false };

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
    pub(crate) fn runs(&self) -> Runs {
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
        let mut first = 0;
        while first < runs.len() {
            let group = self.group_at(runs, first);
            first = group.end;
            let gathered =
                if group.len() > 1 { self.gather(&runs[group.clone()], report)? } else { None };
            for (place, number) in group.enumerate() {
                let run = &runs[number];
                let mut left = match &gathered {
                    Some(moved) => moved[place],
                    None => self.follow_run(run, number, watermarks, report)?,
                };
                if let Some(marks) = watermarks {
                    marks.end(number, run.range.buffer_offset_bytes + left);
                }
                for index in &run.indices {
                    moved_bytes[*index] = left.min(self.segments[*index].len_bytes);
                    left -= moved_bytes[*index];
                }
            }
        }
        Ok(moved_bytes)
    }

    /// The runs from `first` on that are to be read together.
    fn group_at(&self, runs: &[Run], first: usize) -> std::ops::Range<usize> {
        let mut end = first + 1;
        while self.direction == Direction::Load
            && end < runs.len()
            && gather::belongs_to(&runs[first].range, &runs[end - 1].range, &runs[end].range)
        {
            end += 1;
        }
        first..end
    }

    /// Moves one run, of this number, and tells the watermarks, if there are any; returns its bytes.
    fn follow_run(
        &self,
        run: &Run,
        number: usize,
        watermarks: Option<&Watermarks>,
        report: &mut Report,
    ) -> Result<u64> {
        let reach = |place| {
            if let Some(marks) = watermarks {
                marks.reach(number, place);
            }
        };
        let batch_bytes = watermarks.map_or(BATCH_BYTES, |_| FOLLOWED_BATCH_BYTES);
        self.move_run(run, &Follower { reach: &reach, batch_bytes }, report)
    }

    /// Moves runs by one read, if each by itself would be bounced.
    fn gather(&self, runs: &[Run], report: &mut Report) -> Result<Option<Vec<u64>>> {
        let mut plans = Vec::with_capacity(runs.len());
        for run in runs {
            let file = &self.files[run.range.file_index];
            let facts = self.facts_of(file, run.range);
            let plan = plan_segment(|| run.argument(), self.policy, &self.supports, &facts)?;
            if plan.ways.first() != Some(&BOUNCED) {
                return Ok(None);
            }
            plans.push(plan);
        }
        let ranges: Vec<ResolvedSegment> = runs.iter().map(|run| run.range).collect();
        let file = &self.files[ranges[0].file_index];
        let moved = gather::load(file, &ranges, &self.buffer)?;
        if let Some(moved) = &moved {
            plans.into_iter().for_each(|plan| report.explain_plan(plan.not_taken));
            report.count(BOUNCED, moved.iter().sum());
        }
        Ok(moved)
    }

    fn facts_of<'f>(&self, file: &'f OpenFile<'_>, segment: ResolvedSegment) -> SegmentFacts<'f> {
        SegmentFacts {
            direction: self.direction,
            file: file.facts(),
            segment,
            buffer_is_backed: self.buffer.backing.is_some(),
        }
    }

    /// Moves one run; returns its bytes.
    fn move_run(&self, run: &Run, follower: &Follower<'_>, report: &mut Report) -> Result<u64> {
        let segment = run.range;
        let file = &self.files[segment.file_index];
        let facts = self.facts_of(file, segment);
        // Of the ways that may not be taken, then of those that were tried in vain.
        let mut refused: Vec<NotTaken> = Vec::new();
        let mut is_tried = false;
        let mut rest = segment;
        for (way, verdict) in verdicts(self.policy, &self.supports, &facts) {
            match verdict {
                Ok(()) if is_tried => {}
                Ok(()) => {
                    is_tried = true;
                    report.explain_plan(std::mem::take(&mut refused));
                }
                Err(refusal) => {
                    if !is_tried {
                        refused.push(NotTaken { way, refusal });
                    }
                    continue;
                }
            }
            report.count(way, 0);
            let moved = self.move_rest(way, file, &self.facts_of(file, rest), follower, report)?;
            rest = advance(rest, moved.bytes);
            match moved.refused {
                None => return self.finish_segment(segment, rest),
                Some(refusal) => {
                    report.explain(NotTaken { way, refusal: refusal.clone() });
                    refused.push(NotTaken { way, refusal });
                }
            }
        }
        Err(no_way(&run.argument(), self.policy, &refused))
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
                    // A direct read of a file that became shorter meanwhile may leave something behind the end that it
                    // reports: the rest of the last block, and blocks that were read before the file was cut.
                    self.buffer.clear(rest.buffer_offset_bytes, rest.len_bytes)?;
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
