// SPDX-License-Identifier: Apache-2.0
//! Where buffers come from: the heap, the pages and the pool that make a request cheapest.

use std::sync::Arc;

use dmabuf_uapi::page_size_bytes;

use crate::buffer::{Buffer, BufferKind, BufferView};
use crate::error::{EngineError, Result};
use crate::file::OpenFile;
use crate::heap::{
    round_to_pages, Allocated, BufferName, Heap, HeapKind, Heaps, PageKind, Purpose,
};
use crate::path::{Direction, Path, SegmentFacts, Support};
use crate::plan::{rank_memory, MemoryChoice, PathSupports, RankedMemory};
use crate::pool::{Pool, PoolConfig, PoolStats, Wish};
use crate::request::{ClientId, LoadRequest, NewBuffer, Policy, ResolvedSegment};
use crate::runs::covered_bytes;

/// The debug name of a buffer whose client gives none.
const DEFAULT_BUFFER_NAME: &str = "dmabuf-loader";

/// Whether a path works for a heap's buffers.
#[derive(Clone, Debug)]
pub struct HeapPath {
    /// The heap's name.
    pub heap: String,
    /// The path.
    pub path: Path,
    /// What probing found.
    pub support: Arc<Support>,
}

/// The heaps, what works on them, and the pool.
#[derive(Debug)]
pub(crate) struct Allocator {
    heaps: Arc<Heaps>,
    paths: Vec<HeapPath>,
    pool: Option<Pool>,
}

impl Allocator {
    /// Tries every path on each heap.
    pub(crate) fn new(heaps: Heaps, pool: PoolConfig) -> Self {
        let paths = heaps.all().iter().flat_map(probe_heap).collect();
        let heaps = Arc::new(heaps);
        let pool = Pool::start(pool, Arc::clone(&heaps));
        Self { heaps, paths, pool }
    }

    pub(crate) fn heaps(&self) -> &[Heap] {
        self.heaps.all()
    }

    pub(crate) fn paths(&self) -> &[HeapPath] {
        &self.paths
    }

    pub(crate) fn pool_stats(&self) -> Option<PoolStats> {
        self.pool.as_ref().map(Pool::stats)
    }

    /// Allocates a zeroed buffer and hands it over.
    pub(crate) fn allocate(&self, request: &NewBuffer<'_>, client: ClientId) -> Result<Buffer> {
        let name = BufferName::new(request.name, DEFAULT_BUFFER_NAME)?;
        let size_bytes = round_to_pages(request.size_bytes)?;
        let heap = self.heaps.choose(request.heap, size_bytes)?;
        let pool = self.pool.as_ref().filter(|pool| pool.keeps_zeroed(size_bytes));
        // What is to come back has to keep the memory behind it.
        let purpose = if pool.is_some() { Purpose::Fill } else { Purpose::HandOver };
        let wish = |pages| Wish { size_bytes, pages, client, overwritten: false };
        let attempts = self
            .choices(heap, size_bytes, wish)
            .into_iter()
            .map(|Choice { pages, .. }| self.take_or_allocate(heap, wish(pages), &name, purpose));
        first_success(attempts).map(|allocated| match pool {
            Some(pool) => pool.lend(allocated, client),
            None => allocated.buffer,
        })
    }

    fn take_or_allocate(
        &self,
        heap: &Heap,
        wish: Wish,
        name: &BufferName,
        purpose: Purpose,
    ) -> Result<Allocated> {
        let ready = self.pool.as_ref().and_then(|pool| pool.take(heap, wish, name));
        ready.map_or_else(|| heap.allocate_of(wish.size_bytes, wish.pages, name, purpose), Ok)
    }

    /// Ends the mapping of the buffer's memory, unless the pool is to have the buffer back.
    pub(crate) fn hand_over(&self, allocated: Allocated, client: ClientId) -> Buffer {
        match &self.pool {
            Some(pool) => pool.lend(allocated, client),
            None => allocated.buffer,
        }
    }

    /// Allocates a buffer that is to be filled from files, of the heap and the pages that make the whole of it cheapest.
    pub(crate) fn allocate_to_fill(
        &self,
        new: &NewBuffer<'_>,
        request: &LoadRequest<'_>,
        files: &[OpenFile<'_>],
        segments: &[ResolvedSegment],
    ) -> Result<Allocated> {
        let name = BufferName::new(new.name, DEFAULT_BUFFER_NAME)?;
        let size_bytes = round_to_pages(new.size_bytes)?;
        let heaps = self.heaps.suitable(new.heap, size_bytes)?;
        let overwritten = covered_bytes(segments) == new.size_bytes;
        let wish = |pages| Wish { size_bytes, pages, client: request.client, overwritten };
        if let (Some(pool), true) = (&self.pool, overwritten) {
            heaps.iter().for_each(|heap| pool.take_back(heap, size_bytes, request.client));
        }
        if let [heap @ Heap { kind: HeapKind::DmaHeap, .. }] = heaps[..] {
            // Its buffers are made in one way, and mapped by nobody.
            return self.take_or_allocate(heap, wish(None), &name, Purpose::Fill);
        }
        let choices: Vec<Choice<'_>> =
            heaps.into_iter().flat_map(|heap| self.choices(heap, size_bytes, wish)).collect();
        let ranked = self.rank(&choices, request.policy, files, segments);
        first_success(ranked.into_iter().map(|RankedMemory { index, way }| {
            let Choice { heap, pages, .. } = choices[index];
            // To map base pages and unmap them again costs more than copy_file_range itself, which needs no mapping.
            let needs_no_mapping = way.is_some_and(|way| way.path == Path::CopyFileRange)
                && pages == Some(PageKind::Base)
                && !self.pool.as_ref().is_some_and(|pool| pool.keeps(size_bytes));
            let purpose = if needs_no_mapping { Purpose::HandOver } else { Purpose::Fill };
            self.take_or_allocate(heap, wish(pages), &name, purpose)
        }))
    }

    /// What a buffer of a heap could be made of. Where the pool has some ready, the kernel is not asked what else there is:
    /// nothing new is as cheap. The last choice is always to be had, should another request be faster.
    fn choices<'h>(
        &self,
        heap: &'h Heap,
        size_bytes: u64,
        wish: impl Fn(Option<PageKind>) -> Wish,
    ) -> Vec<Choice<'h>> {
        let choice = |pages, is_ready| Choice { heap, pages, is_ready };
        let has = |pages| self.pool.as_ref().is_some_and(|pool| pool.has(heap, wish(pages)));
        let all = heap.all_page_kinds();
        let mut choices: Vec<Choice<'_>> =
            all.iter().filter(|pages| has(**pages)).map(|pages| choice(*pages, true)).collect();
        if choices.is_empty() {
            let kinds = heap.page_kinds(size_bytes);
            return kinds.into_iter().map(|pages| choice(pages, false)).collect();
        }
        let last = all[all.len() - 1];
        if choices.iter().all(|choice| choice.pages != last) {
            choices.push(choice(last, false));
        }
        choices
    }

    /// Cheapest first, by the segment that moves most bytes.
    fn rank(
        &self,
        choices: &[Choice<'_>],
        policy: Policy,
        files: &[OpenFile<'_>],
        segments: &[ResolvedSegment],
    ) -> Vec<RankedMemory> {
        let Some(largest) = segments.iter().max_by_key(|segment| segment.len_bytes) else {
            return (0..choices.len()).map(|index| RankedMemory { index, way: None }).collect();
        };
        let facts = SegmentFacts {
            direction: Direction::Load,
            file: files[largest.file_index].facts(),
            segment: *largest,
            buffer_is_backed: false,
        };
        let choices: Vec<MemoryChoice> = choices
            .iter()
            .map(|choice| MemoryChoice {
                kind: choice.heap.kind,
                pages: choice.pages,
                supports: self.supports_of(&choice.heap.name),
                is_ready: choice.is_ready,
            })
            .collect();
        rank_memory(&choices, policy, &facts)
    }

    /// What probing found for a heap.
    pub(crate) fn supports_of(&self, heap: &str) -> PathSupports {
        let probed =
            self.paths.iter().find(|entry| entry.heap == heap && entry.path == Path::CopyFileRange);
        let copy_file_range = probed.map_or_else(
            || {
                let detail = "not probed for this exporter".to_owned();
                Arc::new(Support { supported: true, detail })
            },
            |entry| Arc::clone(&entry.support),
        );
        PathSupports { copy_file_range }
    }

    /// What the kernel can do for a client's buffer, whose exporter is not known: as for the best heap of its kind, and
    /// the attempt decides.
    pub(crate) fn supports_of_client(&self, buffer: &BufferView<'_>) -> PathSupports {
        let same_kind =
            |heap: &&Heap| heap.device_shareable() == (buffer.kind == BufferKind::DmaBuf);
        let heap = self.heaps.all().iter().find(same_kind);
        self.supports_of(heap.map_or("", |heap| &heap.name))
    }
}

/// A heap and the pages that a buffer could be made of.
struct Choice<'a> {
    heap: &'a Heap,
    pages: Option<PageKind>,
    is_ready: bool,
}

/// What the first attempt that succeeds gives, else the last failure.
fn first_success(attempts: impl Iterator<Item = Result<Allocated>>) -> Result<Allocated> {
    let mut failure = None;
    for attempt in attempts {
        match attempt {
            Ok(allocated) => return Ok(allocated),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| EngineError::bad_argument("heap", "no heap is suitable")))
}

fn probe_heap(heap: &Heap) -> Vec<HeapPath> {
    let size_bytes = page_size_bytes() as u64;
    let pages = (heap.kind != HeapKind::DmaHeap).then_some(PageKind::Base);
    let sample = BufferName::new("", "dmabuf-loader-probe")
        .and_then(|name| heap.allocate_of(size_bytes, pages, &name, Purpose::Fill));
    Path::ALL
        .into_iter()
        .map(|path| {
            let support = match &sample {
                Ok(allocated) => path.implementation().probe(&allocated.view()),
                Err(error) => Support { supported: false, detail: error.to_string() },
            };
            log::info!("heap {}, {path}: {}", heap.name, support.detail);
            HeapPath { heap: heap.name.to_string(), path, support: Arc::new(support) }
        })
        .collect()
}
