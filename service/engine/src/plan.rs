// SPDX-License-Identifier: Apache-2.0
//! Which ways may move a segment, best first. Pure: no I/O, so that tests can try every combination.

use std::borrow::Borrow;

use smallvec::SmallVec;

use crate::cost::{memory, movement};
use crate::error::{EngineError, Result};
use crate::heap::{HeapKind, PageKind};
use crate::path::{Path, Reason, Refusal, SegmentFacts, Support, Way, Words};
use crate::request::Policy;

/// What the kernel can do for the buffer of a request.
#[derive(Clone, Debug)]
pub struct PathSupports {
    /// `copy_file_range(2)`. The other paths need no support, or show it by the buffer's memory.
    pub copy_file_range: Support,
}

impl PathSupports {
    fn refusal(&self, way: Way) -> Option<Refusal> {
        match way.path {
            Path::CopyFileRange if !self.copy_file_range.supported => {
                Some(Refusal::new(Reason::KernelUnsupported, self.copy_file_range.detail.clone()))
            }
            _ => None,
        }
    }
}

/// The system heap and udmabufs of three kinds of page.
pub(crate) const MAX_USUAL_CHOICES: usize = 4;

/// A kind of memory that a new buffer could be made of.
#[derive(Clone, Debug)]
pub struct MemoryChoice {
    /// What stands behind the heap.
    pub kind: HeapKind,
    /// The pages, where the engine chooses them.
    pub pages: Option<PageKind>,
    /// What the kernel can do for such a buffer.
    pub supports: PathSupports,
    /// One is ready, so that there is nothing to be allocated and zeroed.
    pub is_ready: bool,
}

/// A kind of memory in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankedMemory {
    /// Its index among the choices.
    pub index: usize,
    /// The best way to fill it, if the policy leaves one.
    pub way: Option<Way>,
}

/// Orders kinds of memory by what it costs to make a buffer, fill it as `facts` says, and free it, the cheapest first.
/// Equals stay in order. Choices that the policy leaves no way for come last.
pub fn rank_memory<C: Borrow<MemoryChoice>>(
    choices: &[C],
    policy: Policy,
    facts: &SegmentFacts<'_>,
) -> SmallVec<[RankedMemory; MAX_USUAL_CHOICES]> {
    let best_way = |choice: &MemoryChoice| {
        let facts = SegmentFacts { buffer_is_backed: choice.kind != HeapKind::DmaHeap, ..*facts };
        let may_be_taken = |way: &Way| consider(*way, policy, &choice.supports, &facts).is_ok();
        Way::BEST_FIRST.into_iter().find(may_be_taken)
    };
    let mut ranked: SmallVec<[RankedMemory; MAX_USUAL_CHOICES]> = choices
        .iter()
        .enumerate()
        .map(|(index, choice)| RankedMemory { index, way: best_way(choice.borrow()) })
        .collect();
    let cost = |ranked: &RankedMemory| {
        let choice: &MemoryChoice = choices[ranked.index].borrow();
        let memory = if choice.is_ready { 0 } else { memory(choice.kind, choice.pages) };
        ranked.way.map(|way| memory + movement(choice.pages, way))
    };
    // A bare memfd is no dma-buf, so it stands in only where nothing else is to be had.
    ranked.sort_by_key(|ranked| {
        let kind = choices[ranked.index].borrow().kind;
        (kind == HeapKind::Memfd, cost(ranked).unwrap_or(u32::MAX))
    });
    ranked
}

/// A way better than the one taken, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// The better way.
    pub way: Way,
    /// Why not.
    pub refusal: Refusal,
}

/// Ways in the order in which they are tried.
pub type Ways = SmallVec<[Way; Way::BEST_FIRST.len()]>;

/// The plan of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPlan {
    /// The ways to try, in order; at least one.
    pub ways: Ways,
    /// The better ways that are ruled out.
    pub not_taken: Vec<NotTaken>,
}

/// Plans one segment. `segment_argument` tells how errors name it.
///
/// # Errors
/// Where the policy, or the file's `O_DIRECT`, leaves no way: [`EngineError::DirectIoUnavailable`],
/// [`EngineError::PathUnavailable`] or [`EngineError::BadArgument`].
pub fn plan_segment(
    segment_argument: impl FnOnce() -> String,
    policy: Policy,
    supports: &PathSupports,
    facts: &SegmentFacts<'_>,
) -> Result<SegmentPlan> {
    let mut ways = Ways::new();
    let mut not_taken = Vec::new();
    for (way, verdict) in verdicts(policy, supports, facts) {
        match verdict {
            Ok(()) => ways.push(way),
            Err(refusal) if ways.is_empty() => not_taken.push(NotTaken { way, refusal }),
            // Worse than one that may be taken.
            Err(_) => {}
        }
    }
    if ways.is_empty() {
        return Err(no_way(&segment_argument(), policy, &not_taken));
    }
    Ok(SegmentPlan { ways, not_taken })
}

/// Every way, best first, and whether it may move a segment: considered one by one, as the first is mostly all it takes.
pub(crate) fn verdicts<'a>(
    policy: Policy,
    supports: &'a PathSupports,
    facts: &'a SegmentFacts<'_>,
) -> impl Iterator<Item = (Way, std::result::Result<(), Refusal>)> + 'a {
    Way::BEST_FIRST.into_iter().map(move |way| (way, consider(way, policy, supports, facts)))
}

fn consider(
    way: Way,
    policy: Policy,
    supports: &PathSupports,
    facts: &SegmentFacts<'_>,
) -> std::result::Result<(), Refusal> {
    let excluded = |words: Words| Err(Refusal::new(Reason::ExcludedByPolicy, words));
    match policy {
        Policy::RequireDirect if !way.direct => {
            return excluded("the policy requires direct I/O".into());
        }
        Policy::Named(path) if way.path != path => {
            return excluded(format!("the policy names {path}").into());
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
    let reason = refusal.detail.to_string();
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

    const CFR_DIRECT: Way = Way { path: Path::CopyFileRange, direct: true };
    const UDMABUF_DIRECT: Way = Way { path: Path::UdmabufDirect, direct: true };
    const BOUNCE: Way = Way { path: Path::Bounce, direct: false };
    const CFR_BUFFERED: Way = Way { path: Path::CopyFileRange, direct: false };
    const BUFFERED: Way = Way { path: Path::Buffered, direct: false };

    fn supports(supported: bool) -> PathSupports {
        let support = Support { supported, detail: "because".into() };
        PathSupports { copy_file_range: support }
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
        SegmentFacts { direction: Direction::Load, file, segment, buffer_is_backed: false }
    }

    fn reasons(plan: &SegmentPlan) -> Vec<(Way, Reason)> {
        plan.not_taken.iter().map(|n| (n.way, n.refusal.reason)).collect()
    }

    fn auto(supported: bool, facts: &SegmentFacts<'_>) -> SegmentPlan {
        plan_segment(|| "segments[0]".to_owned(), Policy::Auto, &supports(supported), facts)
            .unwrap()
    }

    #[test]
    fn the_best_way_needs_no_excuse() {
        let file = file(possible(), true);
        let plan = auto(true, &whole(&file));
        assert_eq!(plan.ways[..], [CFR_DIRECT, BOUNCE, CFR_BUFFERED, BUFFERED]);
        assert_eq!(plan.not_taken, []);
    }

    #[test]
    fn a_buffer_over_a_memfd_can_be_filled_through_it() {
        let file = file(possible(), true);
        let facts = SegmentFacts { buffer_is_backed: true, ..whole(&file) };
        assert_eq!(auto(true, &facts).ways[..2], [CFR_DIRECT, UDMABUF_DIRECT]);
        let plan = auto(false, &facts);
        assert_eq!(plan.ways[..], [UDMABUF_DIRECT, BOUNCE, BUFFERED]);
        assert_eq!(reasons(&plan), [(CFR_DIRECT, Reason::KernelUnsupported)]);
    }

    #[test]
    fn an_unpatched_kernel_leaves_copies_and_says_why() {
        let file = file(possible(), true);
        let plan = auto(false, &whole(&file));
        assert_eq!(plan.ways[..], [BOUNCE, BUFFERED]);
        assert_eq!(
            reasons(&plan),
            [(CFR_DIRECT, Reason::KernelUnsupported), (UDMABUF_DIRECT, Reason::HeapUnsuitable)]
        );
    }

    #[test]
    fn a_file_without_direct_io_goes_buffered_through_copy_file_range() {
        for (direct, reason) in [
            (DirectIo::NotOnThisFile("compressed".into()), Reason::FileNotDirect),
            (DirectIo::OpenedBuffered("EACCES".into()), Reason::FileOpenedBuffered),
        ] {
            let file = file(direct, true);
            let plan = auto(true, &whole(&file));
            assert_eq!(plan.ways[..], [CFR_BUFFERED, BUFFERED]);
            assert_eq!(
                reasons(&plan),
                [(CFR_DIRECT, reason), (UDMABUF_DIRECT, Reason::HeapUnsuitable), (BOUNCE, reason)]
            );
        }
    }

    #[test]
    fn a_range_without_a_whole_block_is_copied() {
        let file = file(possible(), true);
        let plan = auto(true, &range(&file, 10, 10, 100));
        assert_eq!(plan.ways[0], BOUNCE);
        assert_eq!(
            reasons(&plan),
            [(CFR_DIRECT, Reason::Unaligned), (UDMABUF_DIRECT, Reason::HeapUnsuitable)]
        );
    }

    #[test]
    fn require_direct_fails_with_the_reason() {
        let compressed = file(DirectIo::NotOnThisFile("compressed".into()), true);
        let error = plan_segment(
            || "segments[7]".to_owned(),
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
        let plan = plan_segment(|| "s".to_owned(), Policy::RequireDirect, &supports(true), &facts)
            .unwrap();
        assert_eq!(plan.ways[..], [CFR_DIRECT]);
    }

    #[test]
    fn a_named_path_excludes_better_ones_and_fails_alone() {
        let file = file(possible(), true);
        let named = Policy::Named(Path::Buffered);
        let plan = plan_segment(|| "s".to_owned(), named, &supports(true), &whole(&file)).unwrap();
        assert_eq!(plan.ways[..], [BUFFERED]);
        assert_eq!(plan.not_taken.len(), Way::BEST_FIRST.len() - 1);
        assert!(reasons(&plan).iter().all(|(_, reason)| *reason == Reason::ExcludedByPolicy));
        let named = Policy::Named(Path::CopyFileRange);
        let error =
            plan_segment(|| "s".to_owned(), named, &supports(false), &whole(&file)).unwrap_err();
        assert!(matches!(error, EngineError::PathUnavailable { way: CFR_DIRECT, .. }), "{error}");
    }

    #[test]
    fn an_unaligned_save_to_a_direct_only_file_names_the_segment() {
        let file = file(possible(), false);
        let facts = SegmentFacts { direction: Direction::Save, ..range(&file, 0, 0, 100) };
        let error =
            plan_segment(|| "segments[2]".to_owned(), Policy::Auto, &supports(true), &facts)
                .unwrap_err();
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
            DirectIo::NotOnThisFile("a".into()),
            DirectIo::OpenedBuffered("b".into()),
            DirectIo::ReopeningCostsMore,
        ];
        let rank = |way: &Way| Way::BEST_FIRST.iter().position(|other| other == way).unwrap();
        for direct in directs {
            for (has_buffered_fd, supported, buffer_is_backed) in every_combination() {
                for (file_offset, buffer_offset, len) in
                    [(0, 0, 0), (0, 0, 1), (1, 1, 9000), (0, 7, 9000), (4096, 0, 1 << 20)]
                {
                    let file = file(direct.clone(), has_buffered_fd);
                    let facts = SegmentFacts {
                        buffer_is_backed,
                        ..range(&file, file_offset, buffer_offset, len)
                    };
                    let plan = auto(supported, &facts);
                    assert!(plan.ways.is_sorted_by_key(rank));
                    assert_eq!(plan.not_taken.len(), rank(&plan.ways[0]));
                    assert!(plan.not_taken.iter().all(|n| !n.refusal.detail.is_empty()));
                }
            }
        }
    }

    fn every_combination() -> impl Iterator<Item = (bool, bool, bool)> {
        (0..8).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0))
    }

    fn choices(patched: bool) -> Vec<MemoryChoice> {
        [
            (HeapKind::DmaHeap, None),
            (HeapKind::Udmabuf, Some(PageKind::Hugetlb)),
            (HeapKind::Udmabuf, Some(PageKind::Transparent)),
            (HeapKind::Udmabuf, Some(PageKind::Base)),
            (HeapKind::Memfd, Some(PageKind::Base)),
        ]
        .into_iter()
        .map(|(kind, pages)| MemoryChoice {
            kind,
            pages,
            supports: supports(patched),
            is_ready: false,
        })
        .collect()
    }

    fn indices(ranked: &[RankedMemory]) -> Vec<usize> {
        ranked.iter().map(|ranked| ranked.index).collect()
    }

    #[test]
    fn the_patch_favours_the_system_heap_and_huge_pages_stand_in_for_it() {
        let file = file(possible(), true);
        for (patched, order, best) in
            [(true, [0, 1, 2, 3, 4], CFR_DIRECT), (false, [1, 0, 2, 3, 4], UDMABUF_DIRECT)]
        {
            let ranked = rank_memory(&choices(patched), Policy::Auto, &whole(&file));
            assert_eq!(indices(&ranked), order, "patched {patched}");
            assert_eq!(ranked[0].way, Some(best));
        }
    }

    #[test]
    fn a_buffer_that_is_ready_comes_first() {
        let file = file(possible(), true);
        let mut choices = choices(false);
        choices[3].is_ready = true;
        assert_eq!(rank_memory(&choices, Policy::Auto, &whole(&file))[0].index, 3);
    }

    #[test]
    fn direct_io_required_without_the_patch_needs_a_memfd_behind_the_buffer() {
        let file = file(possible(), true);
        let ranked = rank_memory(&choices(false), Policy::RequireDirect, &whole(&file));
        assert_eq!(indices(&ranked), [1, 2, 3, 0, 4]);
        assert_eq!(ranked[3].way, None);
    }
}
