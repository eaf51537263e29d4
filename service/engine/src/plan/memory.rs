// SPDX-License-Identifier: Apache-2.0
//! What a new buffer is made of: the memory that makes the whole of a load cheapest comes first.

use std::sync::Arc;

use super::cost::{self, movement, CostPerGib};
use super::facts::{BufferFacts, MemoryOption, RequestFacts};
use super::steps::{steps, PlannedExtent, Step};
use crate::buffer::PageKind;
use crate::error::{EngineError, Result};
use crate::heap::HeapKind;
use crate::io_path::{IoPath, PathName};
use crate::request::{Extent, Policy};

/// Memory for a new buffer, and how it is filled.
#[derive(Clone, Debug)]
pub(crate) struct Alternative {
    /// The memory.
    pub(crate) memory: MemoryOption,
    /// Whether the engine needs the memory behind the buffer mapped.
    pub(crate) is_backed: bool,
    /// How it is filled.
    pub(crate) steps: Arc<[Step]>,
}

/// Plans a load into each kind of memory, the cheapest to make, fill and free first. Equals stay in
/// order; memory that the policy leaves no path for is left out.
///
/// # Errors
/// Where no memory is left: the error of the first one.
pub(super) fn alternatives(
    request: &RequestFacts<'_>,
    extents: &[Extent],
    options: Vec<MemoryOption>,
) -> Result<Vec<Alternative>> {
    let mut planned: Vec<(BufferFacts, Result<Planned>)> = Vec::new();
    let mut plan_for = |buffer: BufferFacts| {
        // Kinds of pages of one heap share a plan.
        if let Some((_, plan)) = planned.iter().find(|(known, _)| *known == buffer) {
            return plan.as_ref().ok().cloned();
        }
        let plan = steps(request, extents, &buffer)
            .map(|steps| Planned { main_path: main_path(&steps), steps: Arc::from(steps) });
        let usable = plan.as_ref().ok().cloned();
        planned.push((buffer, plan));
        usable
    };
    let mut alternatives: Vec<(Rank, Alternative)> = Vec::with_capacity(options.len());
    let moves_few_bytes = request.policy == Policy::AUTO && has_few_bytes(extents);
    for memory in options {
        let copy_file_range = memory.copy_file_range.clone();
        // Few bytes are not worth a mapping where the kernel copies them, nor a plan for each heap.
        let needs_no_mapping = moves_few_bytes && copy_file_range.supported;
        let is_backed = memory.kind != HeapKind::DmaHeap && !needs_no_mapping;
        let buffer = BufferFacts { copy_file_range, is_backed };
        let Some(plan) = plan_for(buffer.clone()) else { continue };
        // Mapping base pages and unmapping them costs more than copy_file_range, which needs no
        // mapping.
        let unmapped_is_cheaper = is_backed
            && memory.pages == Some(PageKind::Base)
            && !memory.stays_mapped
            && plan.main_path.is_some_and(|path| path.name() == PathName::CopyFileRange);
        let unmapped = BufferFacts { is_backed: false, ..buffer };
        let unmapped = unmapped_is_cheaper.then(|| plan_for(unmapped)).flatten();
        let (is_backed, plan) = unmapped.map_or((is_backed, plan), |plan| (false, plan));
        // A bare memfd is not a dma-buf, so it stands in only where nothing else has memory.
        let rank = (memory.kind == HeapKind::Memfd, cost(&memory, plan.main_path));
        alternatives.push((rank, Alternative { memory, is_backed, steps: plan.steps }));
    }
    if alternatives.is_empty() {
        let failure = planned.into_iter().find_map(|(_, plan)| plan.err());
        return Err(failure.unwrap_or_else(EngineError::no_suitable_heap));
    }
    alternatives.sort_by_key(|(rank, _)| *rank);
    Ok(alternatives.into_iter().map(|(_, alternative)| alternative).collect())
}

/// Whether all extents together have few bytes.
fn has_few_bytes(extents: &[Extent]) -> bool {
    let lengths = extents.iter().map(|extent| extent.range.len_bytes);
    lengths.fold(0, u64::saturating_add) <= cost::REOPENING_PAYS_ABOVE_BYTES
}

/// A plan and the path of its largest extent, which is looked for once: a request may have
/// thousands of extents.
#[derive(Clone)]
struct Planned {
    steps: Arc<[Step]>,
    main_path: Option<IoPath>,
}

/// The order of alternatives: whether it is the stand-in, then the cost.
type Rank = (bool, CostPerGib);

fn cost(memory: &MemoryOption, main_path: Option<IoPath>) -> CostPerGib {
    let MemoryOption { kind, pages, is_free, .. } = *memory;
    let memory = if is_free { 0 } else { cost::memory(kind, pages) };
    main_path.map_or(CostPerGib::MAX, |path| memory + movement(pages, path))
}

/// The path of the largest extent.
fn main_path(steps: &[Step]) -> Option<IoPath> {
    let extents = steps.iter().flat_map(|step| &step.extents);
    extents.max_by_key(|planned| planned.extent.range.len_bytes).and_then(PlannedExtent::path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{DirectIo, FileFacts};
    use crate::io_path::{Direction, Support};
    use crate::request::{Policy, ResolvedSegment};

    fn options(patched: bool) -> Vec<MemoryOption> {
        [
            ("system", HeapKind::DmaHeap, None),
            ("udmabuf", HeapKind::Udmabuf, Some(PageKind::Hugetlb)),
            ("udmabuf", HeapKind::Udmabuf, Some(PageKind::Transparent)),
            ("udmabuf", HeapKind::Udmabuf, Some(PageKind::Base)),
            ("memfd", HeapKind::Memfd, Some(PageKind::Base)),
        ]
        .into_iter()
        .map(|(heap, kind, pages)| MemoryOption {
            heap: heap.into(),
            kind,
            pages,
            copy_file_range: Support { supported: patched, detail: "because".into() },
            is_free: false,
            stays_mapped: false,
        })
        .collect()
    }

    fn plan(policy: Policy, options: Vec<MemoryOption>) -> Result<Vec<Alternative>> {
        plan_of(1 << 20, policy, options)
    }

    fn plan_of(
        len_bytes: u64,
        policy: Policy,
        options: Vec<MemoryOption>,
    ) -> Result<Vec<Alternative>> {
        let file = FileFacts {
            size_bytes: len_bytes,
            has_buffered_fd: true,
            is_sparse: false,
            direct: DirectIo::Possible { memory_align_bytes: 4096, offset_align_bytes: 4096 },
        };
        let range = ResolvedSegment {
            file_index: 0,
            file_offset_bytes: 0,
            buffer_offset_bytes: 0,
            len_bytes,
        };
        let request = RequestFacts { direction: Direction::Load, policy, files: &[&file] };
        alternatives(&request, &[Extent { range, segments: vec![0] }], options)
    }

    /// Heap and pages in order.
    fn order(alternatives: &[Alternative]) -> Vec<(&str, Option<PageKind>)> {
        let memory = |alternative: &Alternative| alternative.memory.pages;
        alternatives.iter().map(|a| (&*a.memory.heap, memory(a))).collect()
    }

    #[test]
    fn few_bytes_share_a_plan_without_mappings_where_the_kernel_copies() {
        let planned = plan_of(4096, Policy::AUTO, options(true)).unwrap();
        assert!(planned.iter().all(|a| !a.is_backed && Arc::ptr_eq(&a.steps, &planned[0].steps)));
        assert_eq!(planned[0].memory.heap.as_ref(), "system");
        for (len_bytes, policy, patched) in [
            (4096, Policy::AUTO, false),
            (4096, Policy::only(PathName::UdmabufDirect), true),
            (4096, Policy::REQUIRE_DIRECT, true),
            (1 << 20, Policy::AUTO, true),
        ] {
            let planned = plan_of(len_bytes, policy, options(patched)).unwrap();
            assert!(planned.iter().any(|a| a.is_backed), "{len_bytes} bytes, {policy:?}");
        }
    }

    #[test]
    fn the_patch_favours_the_system_heap_and_huge_pages_stand_in() {
        let names = |patched| {
            let planned = plan(Policy::AUTO, options(patched)).unwrap();
            let first = planned[0].steps[0].extents[0].path();
            let order: Vec<(String, Option<PageKind>)> =
                order(&planned).into_iter().map(|(heap, pages)| (heap.to_owned(), pages)).collect();
            (order, first)
        };
        let all: Vec<(String, Option<PageKind>)> = options(true)
            .into_iter()
            .map(|option| (option.heap.to_string(), option.pages))
            .collect();
        let (patched, first) = names(true);
        assert_eq!((patched, first), (all.clone(), Some(IoPath::CopyFileRangeDirect)));
        let (stock, first) = names(false);
        let expected = [1, 0, 2, 3, 4].map(|index: usize| all[index].clone());
        assert_eq!((stock, first), (expected.to_vec(), Some(IoPath::UdmabufDirect)));
    }

    /// As on a kernel that shows importers wrong bytes of udmabufs in huge pages.
    #[test]
    fn without_huge_pages_bouncing_costs_least() {
        let options = || {
            let is_huge = |option: &MemoryOption| {
                matches!(option.pages, Some(PageKind::Hugetlb | PageKind::Transparent))
            };
            let mut options = options(false);
            options.retain(|option| !is_huge(option));
            options
        };
        let planned = plan(Policy::AUTO, options()).unwrap();
        let base = Some(PageKind::Base);
        assert_eq!(order(&planned), [("system", None), ("udmabuf", base), ("memfd", base)]);
        assert_eq!(planned[0].steps[0].extents[0].path(), Some(IoPath::Bounce));
        let direct = plan(Policy::REQUIRE_DIRECT, options()).unwrap();
        assert_eq!(order(&direct)[0], ("udmabuf", base));
    }

    #[test]
    fn a_buffer_that_is_free_comes_first() {
        let mut options = options(false);
        options[3].is_free = true;
        let planned = plan(Policy::AUTO, options).unwrap();
        assert_eq!(order(&planned)[0], ("udmabuf", Some(PageKind::Base)));
    }

    #[test]
    fn direct_io_without_the_patch_needs_a_memfd() {
        let planned = plan(Policy::REQUIRE_DIRECT, options(false)).unwrap();
        assert!(planned.iter().all(|alternative| alternative.memory.kind != HeapKind::DmaHeap));
        let system_only = options(false)[..1].to_vec();
        let failed = plan(Policy::REQUIRE_DIRECT, system_only).unwrap_err();
        assert!(matches!(failed, EngineError::DirectIoUnavailable { .. }), "{failed}");
    }

    #[test]
    fn base_pages_are_not_mapped_for_copy_file_range() {
        let of_base = |options: Vec<MemoryOption>| {
            let planned = plan(Policy::AUTO, options).unwrap();
            let base = planned.into_iter().find(|alternative| {
                alternative.memory.kind == HeapKind::Udmabuf
                    && alternative.memory.pages == Some(PageKind::Base)
            });
            base.unwrap().is_backed
        };
        assert!(!of_base(options(true)));
        assert!(of_base(options(false)));
        let mut kept = options(true);
        kept[3].stays_mapped = true;
        assert!(of_base(kept), "the pool wants it back mapped");
    }

    #[test]
    fn kinds_of_pages_of_one_heap_share_a_plan() {
        let planned = plan(Policy::AUTO, options(false)).unwrap();
        let of = |pages| planned.iter().find(|a| a.memory.pages == Some(pages)).unwrap();
        let (huge, base) = (of(PageKind::Hugetlb), of(PageKind::Transparent));
        assert!(Arc::ptr_eq(&huge.steps, &base.steps));
    }
}
