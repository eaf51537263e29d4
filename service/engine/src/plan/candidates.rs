// SPDX-License-Identifier: Apache-2.0
//! Which paths may move an extent, cheapest first, and why the others may not.

use dmabuf_uapi::Errno;

use super::division::{divide, Division};
use super::facts::RangeFacts;
use crate::error::{Argument, EngineError, Result};
use crate::file::{DirectIo, FileFacts};
use crate::io_path::{IoPath, NotTaken, PathName, Reason, Refusal};
use crate::request::{PathList, Policy};

/// A path that may move an extent, and how it divides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) path: IoPath,
    pub(crate) division: Division,
}

/// The candidates for an extent, cheapest first, and the cheaper paths that are ruled out.
/// `segment` is what errors name.
///
/// # Errors
/// Where the policy, or the file's `O_DIRECT`, leaves no path:
/// [`EngineError::DirectIoUnavailable`], [`EngineError::PathUnavailable`] or
/// [`EngineError::BadArgument`].
pub(super) fn candidates(
    segment: usize,
    facts: &RangeFacts<'_>,
) -> Result<(Vec<Candidate>, Vec<NotTaken>)> {
    let mut candidates = Vec::new();
    let mut not_taken = Vec::new();
    for path in facts.policy.paths.in_order() {
        match consider(path, facts) {
            Ok(division) => candidates.push(Candidate { path, division }),
            // More expensive than the path that is taken first.
            Err(_) if candidates.first().is_some_and(|first| first.path < path) => {}
            Err(refusal) => not_taken.push(NotTaken { path, refusal }),
        }
    }
    if candidates.is_empty() {
        return Err(no_path(segment, facts.policy, facts.file, &not_taken));
    }
    Ok((candidates, not_taken))
}

fn consider(path: IoPath, facts: &RangeFacts<'_>) -> std::result::Result<Division, Refusal> {
    if !facts.policy.paths.permit(path) {
        return Err(Refusal::NotPermitted);
    }
    if facts.policy.require_direct && !path.is_direct() {
        return Err(Refusal::NotDirect);
    }
    let support = &facts.buffer.copy_file_range;
    if path.name() == PathName::CopyFileRange && !support.supported {
        return Err(Refusal::KernelUnsupported(support.detail.clone()));
    }
    let RangeFacts { direction, file, range, buffer, .. } = *facts;
    let division = divide(path, direction, file, range, buffer.is_backed)?;
    let nothing_is_direct =
        path.is_direct() && division.body_bytes == 0 && facts.range.len_bytes > 0;
    if nothing_is_direct && facts.policy == Policy::AUTO {
        let align_bytes = u64::from(facts.file.offset_align_bytes());
        return Err(Refusal::NoWholeBlock { align_bytes });
    }
    Ok(division)
}

/// The error for a segment that no path may move, or that every candidate has been refused for.
pub(crate) fn no_path(
    segment: usize,
    policy: Policy,
    file: &FileFacts,
    refused: &[NotTaken],
) -> EngineError {
    let of_policy = || refused.iter().filter(|refused| policy.permits(refused.path));
    if of_policy().any(|refused| refused.refusal.reason() == Reason::BufferBusy) {
        return EngineError::Busy;
    }
    if policy.require_direct {
        let reason = of_policy().next().map_or_else(
            || "no path that the request permits is direct".to_owned(),
            |NotTaken { refusal, .. }| refusal.to_string(),
        );
        return EngineError::DirectIoUnavailable { segment, reason };
    }
    if policy.paths != PathList::ANY {
        return EngineError::PathUnavailable { segment, reasons: reasons(of_policy()) };
    }
    let argument = Argument::Segment(segment);
    let through_page_cache = of_policy().find(|refused| refused.path == IoPath::Buffered);
    let Some(NotTaken { refusal, .. }) = through_page_cache else {
        return EngineError::bad_argument(argument, "no path can move it");
    };
    match not_through_o_direct(refusal, file) {
        Some(reason) => EngineError::OpenedDirect { segment, reason },
        None => EngineError::bad_argument(argument, refusal.to_string()),
    }
}

/// Each path with its reason.
fn reasons<'a>(refused: impl Iterator<Item = &'a NotTaken>) -> String {
    let each: Vec<String> =
        refused.map(|NotTaken { path, refusal }| format!("{path}: {refusal}")).collect();
    each.join("; ")
}

/// Why a range that could move through the page cache does not, if that is the fault of the
/// `O_DIRECT` of the file's only fd.
fn not_through_o_direct(refusal: &Refusal, file: &FileFacts) -> Option<String> {
    if file.has_buffered_fd {
        return None;
    }
    match (refusal, &file.direct) {
        (Refusal::FileOpenedDirect, DirectIo::NotOnThisFile(detail)) => {
            Some(format!("{refusal}; {detail}"))
        }
        (Refusal::RefusedByKernel(Errno::INVAL), _) => Some(format!(
            "{}; {refusal} for multiples of {} bytes",
            Refusal::FileOpenedDirect,
            file.offset_align_bytes()
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io_path::{Direction, Support};
    use crate::plan::facts::BufferFacts;
    use crate::request::ResolvedSegment;

    use IoPath::{Bounce, Buffered, CopyFileRangeBuffered, CopyFileRangeDirect, UdmabufDirect};

    const MIB: u64 = 1 << 20;

    fn buffer(supported: bool, is_backed: bool) -> BufferFacts {
        let copy_file_range = Support { supported, detail: "because".into() };
        BufferFacts { copy_file_range, is_backed }
    }

    fn file(direct: DirectIo, has_buffered_fd: bool) -> FileFacts {
        FileFacts { size_bytes: MIB, has_buffered_fd, is_sparse: false, direct }
    }

    fn possible() -> DirectIo {
        DirectIo::Possible { memory_align_bytes: 4096, offset_align_bytes: 4096 }
    }

    fn range(file_offset_bytes: u64, buffer_offset_bytes: u64, len_bytes: u64) -> ResolvedSegment {
        ResolvedSegment { file_index: 0, file_offset_bytes, buffer_offset_bytes, len_bytes }
    }

    struct Planned {
        paths: Vec<IoPath>,
        not_taken: Vec<NotTaken>,
    }

    impl Planned {
        fn reasons(&self) -> Vec<(IoPath, Reason)> {
            self.not_taken.iter().map(|n| (n.path, n.refusal.reason())).collect()
        }
    }

    /// A load of a range.
    fn plan(
        policy: Policy,
        buffer: &BufferFacts,
        file: &FileFacts,
        range: ResolvedSegment,
    ) -> Result<Planned> {
        let facts = RangeFacts { direction: Direction::Load, policy, file, range, buffer };
        let (candidates, not_taken) = candidates(7, &facts)?;
        Ok(Planned { paths: candidates.iter().map(|c| c.path).collect(), not_taken })
    }

    /// A load of a whole file by AUTO.
    fn auto(buffer: &BufferFacts, file: &FileFacts) -> Planned {
        plan(Policy::AUTO, buffer, file, range(0, 0, MIB)).unwrap()
    }

    #[test]
    fn the_cheapest_path_needs_no_excuse() {
        let plan = auto(&buffer(true, false), &file(possible(), true));
        assert_eq!(plan.paths, [CopyFileRangeDirect, Bounce, CopyFileRangeBuffered, Buffered]);
        assert_eq!(plan.not_taken, []);
    }

    #[test]
    fn a_buffer_over_a_memfd_can_be_filled_through_it() {
        let file = file(possible(), true);
        let plan = auto(&buffer(true, true), &file);
        assert_eq!(plan.paths[..2], [CopyFileRangeDirect, UdmabufDirect]);
        let plan = auto(&buffer(false, true), &file);
        assert_eq!(plan.paths, [UdmabufDirect, Bounce, Buffered]);
        assert_eq!(plan.reasons(), [(CopyFileRangeDirect, Reason::KernelUnsupported)]);
    }

    #[test]
    fn an_unpatched_kernel_leaves_copies_and_says_why() {
        let plan = auto(&buffer(false, false), &file(possible(), true));
        assert_eq!(plan.paths, [Bounce, Buffered]);
        let expected = [
            (CopyFileRangeDirect, Reason::KernelUnsupported),
            (UdmabufDirect, Reason::HeapUnsuitable),
        ];
        assert_eq!(plan.reasons(), expected);
    }

    #[test]
    fn a_file_without_direct_io_goes_through_the_page_cache() {
        for (direct, reason) in [
            (DirectIo::NotOnThisFile("compressed".into()), Reason::FileNotDirect),
            (DirectIo::OpenedBuffered("EACCES".into()), Reason::FileOpenedBuffered),
            (DirectIo::ReopeningCostsMore, Reason::ReopeningCostsMore),
        ] {
            let plan = auto(&buffer(true, false), &file(direct, true));
            assert_eq!(plan.paths, [CopyFileRangeBuffered, Buffered]);
            let expected = [
                (CopyFileRangeDirect, reason),
                (UdmabufDirect, Reason::HeapUnsuitable),
                (Bounce, reason),
            ];
            assert_eq!(plan.reasons(), expected);
        }
    }

    #[test]
    fn a_range_without_a_whole_block_is_copied() {
        let file = file(possible(), true);
        let plan = plan(Policy::AUTO, &buffer(true, false), &file, range(10, 10, 100)).unwrap();
        assert_eq!(plan.paths[0], Bounce);
        let expected =
            [(CopyFileRangeDirect, Reason::Unaligned), (UdmabufDirect, Reason::HeapUnsuitable)];
        assert_eq!(plan.reasons(), expected);
    }

    #[test]
    fn require_direct_fails_with_the_reason() {
        let compressed = file(DirectIo::NotOnThisFile("compressed".into()), true);
        let buffer = buffer(true, false);
        let failed = plan(Policy::REQUIRE_DIRECT, &buffer, &compressed, range(0, 0, MIB));
        let reason = "compressed".to_owned();
        assert_eq!(
            failed.map(|_| ()),
            Err(EngineError::DirectIoUnavailable { segment: 7, reason })
        );
    }

    #[test]
    fn require_direct_takes_a_range_inside_one_block() {
        let file = file(possible(), true);
        let small = range(10, 10, 100);
        let plan = plan(Policy::REQUIRE_DIRECT, &buffer(true, false), &file, small).unwrap();
        assert_eq!(plan.paths, [CopyFileRangeDirect]);
    }

    #[test]
    fn a_named_path_excludes_cheaper_ones_and_fails_alone() {
        let file = file(possible(), true);
        let whole = range(0, 0, MIB);
        let named = Policy::only(PathName::Buffered);
        let planned = plan(named, &buffer(true, false), &file, whole).unwrap();
        assert_eq!(planned.paths, [Buffered]);
        assert_eq!(planned.not_taken.len(), IoPath::CHEAPEST_FIRST.len() - 1);
        assert!(planned.reasons().iter().all(|(_, reason)| *reason == Reason::ExcludedByPolicy));
        let named = Policy::only(PathName::CopyFileRange);
        let failed = plan(named, &buffer(false, false), &file, whole).map(|_| ()).unwrap_err();
        let expected = CopyFileRangeDirect.as_str();
        assert!(
            matches!(
                &failed,
                EngineError::PathUnavailable { reasons, .. } if reasons.starts_with(expected)
            ),
            "{failed}"
        );
    }

    #[test]
    fn an_unaligned_save_to_a_direct_file_names_the_segment() {
        let (file, buffer) = (file(possible(), false), buffer(true, false));
        let facts = RangeFacts {
            direction: Direction::Save,
            policy: Policy::AUTO,
            file: &file,
            range: range(0, 0, 100),
            buffer: &buffer,
        };
        assert_eq!(
            candidates(2, &facts).unwrap_err().to_string(),
            "segment 2: a file open with O_DIRECT takes only multiples of 4096 bytes"
        );
    }

    #[test]
    fn a_file_that_is_open_only_with_o_direct_is_not_the_arguments_fault() {
        let inline = file(DirectIo::NotOnThisFile("in its inode".into()), false);
        let planned = plan(Policy::AUTO, &buffer(true, true), &inline, range(0, 0, 100));
        let error = planned.map(|planned| planned.paths).unwrap_err();
        assert!(matches!(error, EngineError::OpenedDirect { segment: 7, .. }), "{error}");
        assert!(
            error.to_string().contains("cannot be reopened without it; in its inode"),
            "{error}"
        );

        let refusal = Refusal::RefusedByKernel(Errno::INVAL);
        let refused = [NotTaken { path: Buffered, refusal }];
        let error = no_path(7, Policy::AUTO, &file(possible(), false), &refused);
        assert!(matches!(error, EngineError::OpenedDirect { segment: 7, .. }), "{error}");
        assert!(error.to_string().contains("multiples of 4096 bytes"), "{error}");
        let error = no_path(7, Policy::AUTO, &file(possible(), true), &refused);
        assert!(matches!(error, EngineError::BadArgument { .. }), "{error}");
    }

    /// Over all combinations: AUTO finds a path for every load of a file that can be read through
    /// one of its fds, tries the paths in order, and explains each cheaper one.
    #[test]
    fn auto_finds_a_path_for_every_load_and_explains() {
        let directs = [
            possible(),
            DirectIo::NotOnThisFile("a".into()),
            DirectIo::OpenedBuffered("b".into()),
            DirectIo::ReopeningCostsMore,
        ];
        let rank =
            |path: &IoPath| IoPath::CHEAPEST_FIRST.iter().position(|other| other == path).unwrap();
        let every_bool = || [false, true].into_iter();
        for direct in directs {
            for (has_buffered_fd, supported) in
                every_bool().flat_map(|a| every_bool().map(move |b| (a, b)))
            {
                for (is_backed, (file_offset, buffer_offset, len)) in every_bool().flat_map(|b| {
                    [(0, 0, 0), (0, 0, 1), (1, 1, 9000), (0, 7, 9000), (4096, 0, MIB)]
                        .map(|numbers| (b, numbers))
                }) {
                    let file = file(direct.clone(), has_buffered_fd);
                    if !has_buffered_fd && direct != possible() {
                        continue;
                    }
                    let range = range(file_offset, buffer_offset, len);
                    let plan =
                        plan(Policy::AUTO, &buffer(supported, is_backed), &file, range).unwrap();
                    assert!(plan.paths.is_sorted_by_key(rank));
                    assert_eq!(plan.not_taken.len(), rank(&plan.paths[0]));
                    assert!(plan.not_taken.iter().all(|n| !n.refusal.to_string().is_empty()));
                }
            }
        }
    }
}
