// SPDX-License-Identifier: Apache-2.0
//! Which ways may move a segment, best first. Pure: no I/O, so that tests can try every combination.

use crate::error::{EngineError, Result};
use crate::path::{Path, Reason, Refusal, SegmentFacts, Support, Way};
use crate::request::Policy;

/// What the kernel can do for the buffer of a request.
#[derive(Clone, Debug)]
pub struct PathSupports {
    /// `copy_file_range(2)`. [`Path::Buffered`] needs no support.
    pub copy_file_range: Support,
}

impl PathSupports {
    /// Whether a path that can be direct is possible.
    pub fn any_direct(&self) -> bool {
        self.copy_file_range.supported
    }

    fn refusal(&self, way: Way) -> Option<Refusal> {
        match way.path {
            Path::CopyFileRange if !self.copy_file_range.supported => {
                Some(Refusal::new(Reason::KernelUnsupported, self.copy_file_range.detail.clone()))
            }
            Path::CopyFileRange | Path::Buffered => None,
        }
    }
}

/// A way better than the one taken, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// The better way.
    pub way: Way,
    /// Why not.
    pub refusal: Refusal,
}

/// The plan of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPlan {
    /// The ways to try, in order; at least one.
    pub ways: Vec<Way>,
    /// The better ways that are ruled out.
    pub not_taken: Vec<NotTaken>,
}

/// Plans one segment. `segment_argument` is how errors name it.
///
/// # Errors
/// Where the policy, or the file's `O_DIRECT`, leaves no way: [`EngineError::DirectIoUnavailable`],
/// [`EngineError::PathUnavailable`] or [`EngineError::BadArgument`].
pub fn plan_segment(
    segment_argument: &str,
    policy: Policy,
    supports: &PathSupports,
    facts: &SegmentFacts<'_>,
) -> Result<SegmentPlan> {
    let mut ways = Vec::new();
    let mut refused = Vec::new();
    for way in Way::BEST_FIRST {
        match consider(way, policy, supports, facts) {
            Ok(()) => ways.push(way),
            Err(refusal) => refused.push(NotTaken { way, refusal }),
        }
    }
    let Some(first) = ways.first() else {
        return Err(no_way(segment_argument, policy, &refused));
    };
    let rank = |way: &Way| Way::BEST_FIRST.iter().position(|other| other == way);
    refused.retain(|not_taken| rank(&not_taken.way) < rank(first));
    Ok(SegmentPlan { ways, not_taken: refused })
}

fn consider(
    way: Way,
    policy: Policy,
    supports: &PathSupports,
    facts: &SegmentFacts<'_>,
) -> std::result::Result<(), Refusal> {
    let excluded = |words: String| Err(Refusal::new(Reason::ExcludedByPolicy, words));
    match policy {
        Policy::RequireDirect if !way.direct => {
            return excluded("the policy requires direct I/O".to_owned());
        }
        Policy::Named(path) if way.path != path => {
            return excluded(format!("the policy names {path}"));
        }
        _ => {}
    }
    if let Some(refusal) = supports.refusal(way) {
        return Err(refusal);
    }
    let split = way.path.implementation().split(way.direct, facts)?;
    let only_edges = way.direct && split.body_bytes == 0 && facts.segment.len_bytes > 0;
    if only_edges && policy == Policy::Auto {
        return Err(Refusal::new(
            Reason::Unaligned,
            format!(
                "the segment holds no whole block of {} bytes",
                facts.file.offset_align_bytes()
            ),
        ));
    }
    Ok(())
}

/// The error for a segment that no way may move.
pub(crate) fn no_way(segment_argument: &str, policy: Policy, refused: &[NotTaken]) -> EngineError {
    let segment = segment_argument.to_owned();
    let of_policy = refused.iter().find(|not_taken| match policy {
        Policy::Auto => not_taken.way.path == Path::Buffered,
        Policy::RequireDirect => not_taken.way.direct,
        Policy::Named(path) => not_taken.way.path == path,
    });
    let Some(NotTaken { way, refusal }) = of_policy else {
        return EngineError::bad_argument(segment, "no path can move it");
    };
    let reason = refusal.detail.clone();
    match policy {
        _ if refusal.reason == Reason::BufferBusy => EngineError::Busy,
        Policy::Auto => EngineError::bad_argument(segment, reason),
        Policy::RequireDirect => EngineError::DirectIoUnavailable { segment, reason },
        Policy::Named(_) => EngineError::PathUnavailable { segment, way: *way, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{DirectIo, FileFacts};
    use crate::path::Direction;
    use crate::request::ResolvedSegment;

    const CFR_DIRECT: Way = Way::BEST_FIRST[0];
    const CFR_BUFFERED: Way = Way::BEST_FIRST[1];
    const BUFFERED: Way = Way::BEST_FIRST[2];

    fn supports(supported: bool) -> PathSupports {
        PathSupports { copy_file_range: Support { supported, detail: "because".to_owned() } }
    }

    fn file(direct: DirectIo, has_buffered_fd: bool) -> FileFacts {
        FileFacts { size_bytes: 1 << 20, has_buffered_fd, direct }
    }

    fn possible() -> DirectIo {
        DirectIo::Possible { memory_align_bytes: 4096, offset_align_bytes: 4096 }
    }

    fn whole(file: &FileFacts) -> SegmentFacts<'_> {
        range(file, 0, 0, 1 << 20)
    }

    fn range(
        file: &FileFacts,
        file_offset_bytes: u64,
        buffer_offset_bytes: u64,
        len_bytes: u64,
    ) -> SegmentFacts<'_> {
        let segment =
            ResolvedSegment { file_index: 0, file_offset_bytes, buffer_offset_bytes, len_bytes };
        SegmentFacts { direction: Direction::Load, file, segment }
    }

    fn reasons(plan: &SegmentPlan) -> Vec<(Way, Reason)> {
        plan.not_taken.iter().map(|n| (n.way, n.refusal.reason)).collect()
    }

    fn auto(supported: bool, facts: &SegmentFacts<'_>) -> SegmentPlan {
        plan_segment("segments[0]", Policy::Auto, &supports(supported), facts).unwrap()
    }

    #[test]
    fn the_best_way_needs_no_excuse() {
        let file = file(possible(), true);
        let plan = auto(true, &whole(&file));
        assert_eq!(plan.ways, [CFR_DIRECT, CFR_BUFFERED, BUFFERED]);
        assert_eq!(plan.not_taken, []);
    }

    #[test]
    fn an_unpatched_kernel_leaves_the_buffered_path_and_says_why() {
        let file = file(possible(), true);
        let plan = auto(false, &whole(&file));
        assert_eq!(plan.ways, [BUFFERED]);
        assert_eq!(
            reasons(&plan),
            [(CFR_DIRECT, Reason::KernelUnsupported), (CFR_BUFFERED, Reason::KernelUnsupported)]
        );
    }

    #[test]
    fn a_file_without_direct_io_goes_buffered_through_copy_file_range() {
        for (direct, reason) in [
            (DirectIo::NotOnThisFile("compressed".to_owned()), Reason::FileNotDirect),
            (DirectIo::OpenedBuffered("EACCES".to_owned()), Reason::FileOpenedBuffered),
        ] {
            let file = file(direct, true);
            let plan = auto(true, &whole(&file));
            assert_eq!(plan.ways, [CFR_BUFFERED, BUFFERED]);
            assert_eq!(reasons(&plan), [(CFR_DIRECT, reason)]);
        }
    }

    #[test]
    fn a_range_without_a_whole_block_goes_buffered() {
        let file = file(possible(), true);
        let plan = auto(true, &range(&file, 10, 10, 100));
        assert_eq!(plan.ways[0], CFR_BUFFERED);
        assert_eq!(reasons(&plan), [(CFR_DIRECT, Reason::Unaligned)]);
    }

    #[test]
    fn require_direct_fails_with_the_reason() {
        let compressed = file(DirectIo::NotOnThisFile("compressed".to_owned()), true);
        let error = plan_segment(
            "segments[7]",
            Policy::RequireDirect,
            &supports(true),
            &whole(&compressed),
        )
        .unwrap_err();
        assert_eq!(
            error,
            EngineError::DirectIoUnavailable {
                segment: "segments[7]".to_owned(),
                reason: "compressed".to_owned()
            }
        );
    }

    #[test]
    fn require_direct_takes_a_range_that_is_all_edge() {
        let file = file(possible(), true);
        let facts = range(&file, 10, 10, 100);
        let plan = plan_segment("s", Policy::RequireDirect, &supports(true), &facts).unwrap();
        assert_eq!(plan.ways, [CFR_DIRECT]);
    }

    #[test]
    fn a_named_path_excludes_better_ones_and_fails_alone() {
        let file = file(possible(), true);
        let named = Policy::Named(Path::Buffered);
        let plan = plan_segment("s", named, &supports(true), &whole(&file)).unwrap();
        assert_eq!(plan.ways, [BUFFERED]);
        assert_eq!(
            reasons(&plan),
            [(CFR_DIRECT, Reason::ExcludedByPolicy), (CFR_BUFFERED, Reason::ExcludedByPolicy)]
        );
        let named = Policy::Named(Path::CopyFileRange);
        let error = plan_segment("s", named, &supports(false), &whole(&file)).unwrap_err();
        assert!(matches!(error, EngineError::PathUnavailable { way: CFR_DIRECT, .. }), "{error}");
    }

    #[test]
    fn an_unaligned_save_to_a_direct_only_file_names_the_segment() {
        let file = file(possible(), false);
        let facts = SegmentFacts { direction: Direction::Save, ..range(&file, 0, 0, 100) };
        let error = plan_segment("segments[2]", Policy::Auto, &supports(true), &facts).unwrap_err();
        assert_eq!(
            error.to_string(),
            "segments[2]: a file opened with O_DIRECT takes only multiples of 4096 bytes"
        );
    }

    /// Over all combinations: AUTO always finds a way for a load, tries the ways in order, and explains each better one.
    #[test]
    fn auto_always_finds_a_way_to_load_and_explains_the_rest() {
        let directs = [
            possible(),
            DirectIo::NotOnThisFile("a".to_owned()),
            DirectIo::OpenedBuffered("b".to_owned()),
        ];
        for direct in directs {
            for has_buffered_fd in [true, false] {
                for supported in [true, false] {
                    for (file_offset, buffer_offset, len) in
                        [(0, 0, 0), (0, 0, 1), (1, 1, 9000), (0, 7, 9000), (4096, 0, 1 << 20)]
                    {
                        let file = file(direct.clone(), has_buffered_fd);
                        let plan = auto(supported, &range(&file, file_offset, buffer_offset, len));
                        let rank = |way: &Way| {
                            Way::BEST_FIRST.iter().position(|other| other == way).unwrap()
                        };
                        assert!(plan.ways.is_sorted_by_key(rank));
                        assert_eq!(plan.not_taken.len(), rank(&plan.ways[0]));
                        assert!(plan.not_taken.iter().all(|n| !n.refusal.detail.is_empty()));
                    }
                }
            }
        }
    }
}
