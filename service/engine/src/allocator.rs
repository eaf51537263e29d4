// SPDX-License-Identifier: Apache-2.0
//! Where buffers come from: the heap, the pages and the pool that make a request cheapest.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Instant;

use dmabuf_uapi::page_size_bytes;
use smallvec::SmallVec;

use crate::buffer::{Buffer, BufferKind, BufferView};
use crate::error::{EngineError, Result};
use crate::file::OpenFile;
use crate::heap::{
    round_to_pages, Allocated, BufferName, Heap, HeapKind, Heaps, PageKind, Purpose,
};
use crate::path::{Direction, Path, SegmentFacts, Support};
use crate::plan::{rank_memory, MemoryChoice, PathSupports, RankedMemory, MAX_USUAL_CHOICES};
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
    pub support: Support,
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
        let now = Instant::now();
        let wish = |pages| Wish { size_bytes, pages, client, overwritten: false, now };
        let attempts = self
            .choices([heap], wish(None))
            .into_iter()
            .map(|Choice { memory, .. }| memory.pages)
            .map(|pages| self.take_or_allocate(heap, wish(pages), &name, purpose));
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
        now: Instant,
    ) -> Result<Allocated> {
        let name = BufferName::new(new.name, DEFAULT_BUFFER_NAME)?;
        let size_bytes = round_to_pages(new.size_bytes)?;
        let heaps = self.heaps.suitable(new.heap, size_bytes)?;
        let overwritten = covered_bytes(segments) == new.size_bytes;
        let client = request.client;
        let wish = |pages| Wish { size_bytes, pages, client, overwritten, now };
        if let (Some(pool), true) = (&self.pool, overwritten) {
            heaps.iter().for_each(|heap| pool.take_back(heap, wish(None)));
        }
        if let [heap @ Heap { kind: HeapKind::DmaHeap, .. }] = heaps[..] {
            // Its buffers are made in one way, and mapped by nobody.
            return self.take_or_allocate(heap, wish(None), &name, Purpose::Fill);
        }
        let choices = self.choices(heaps, wish(None));
        let ranked = rank(&choices, request.policy, files, segments);
        first_success(ranked.into_iter().map(|RankedMemory { index, way }| {
            let Choice { heap, memory: MemoryChoice { pages, .. } } = choices[index];
            // To map base pages and unmap them again costs more than copy_file_range itself, which needs no mapping.
            let needs_no_mapping = way.is_some_and(|way| way.path == Path::CopyFileRange)
                && pages == Some(PageKind::Base)
                && !self.pool.as_ref().is_some_and(|pool| pool.keeps(size_bytes));
            let purpose = if needs_no_mapping { Purpose::HandOver } else { Purpose::Fill };
            self.take_or_allocate(heap, wish(pages), &name, purpose)
        }))
    }

    /// What a buffer could be made of. Of a heap of which the pool has some ready the kernel is not asked what else there is:
    /// nothing new is as cheap. The last choice of a heap is always to be had, should another request be faster.
    fn choices<'h>(&self, heaps: impl IntoIterator<Item = &'h Heap>, wish: Wish) -> Choices<'h> {
        let mut choices = Choices::new();
        for heap in heaps {
            let supports = self.supports_of(&heap.name);
            let mut add = |pages, is_ready| {
                let supports = supports.clone();
                let memory = MemoryChoice { kind: heap.kind, pages, supports, is_ready };
                choices.push(Choice { heap, memory });
            };
            let ready = self.pool.as_ref().map(|pool| pool.ready_kinds(heap, wish));
            let ready = ready.unwrap_or_default();
            if ready.is_empty() {
                heap.page_kinds(wish.size_bytes).into_iter().for_each(|pages| add(pages, false));
                continue;
            }
            let all = heap.all_page_kinds();
            let last = all[all.len() - 1];
            let lacks_last = !ready.contains(&last);
            ready.into_iter().for_each(|pages| add(pages, true));
            if lacks_last {
                add(last, false);
            }
        }
        choices
    }

    /// What probing found for a heap.
    pub(crate) fn supports_of(&self, heap: &str) -> PathSupports {
        let probed =
            self.paths.iter().find(|entry| entry.path == Path::CopyFileRange && entry.heap == heap);
        let copy_file_range = probed.map_or_else(
            || {
                let detail = "not probed for this exporter".into();
                Support { supported: true, detail }
            },
            |entry| entry.support.clone(),
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

/// What a buffer could be made of, and by which heap.
struct Choice<'a> {
    heap: &'a Heap,
    memory: MemoryChoice,
}

type Choices<'a> = SmallVec<[Choice<'a>; MAX_USUAL_CHOICES]>;

impl Borrow<MemoryChoice> for Choice<'_> {
    fn borrow(&self) -> &MemoryChoice {
        &self.memory
    }
}

/// Cheapest first, by the segment that moves most bytes.
fn rank(
    choices: &[Choice<'_>],
    policy: Policy,
    files: &[OpenFile<'_>],
    segments: &[ResolvedSegment],
) -> SmallVec<[RankedMemory; MAX_USUAL_CHOICES]> {
    let Some(largest) = segments.iter().max_by_key(|segment| segment.len_bytes) else {
        return (0..choices.len()).map(|index| RankedMemory { index, way: None }).collect();
    };
    let facts = SegmentFacts {
        direction: Direction::Load,
        file: files[largest.file_index].facts(),
        segment: *largest,
        buffer_is_backed: false,
    };
    rank_memory(choices, policy, &facts)
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
                Err(error) => Support { supported: false, detail: error.to_string().into() },
            };
            log::info!("heap {}, {path}: {}", heap.name, support.detail);
            HeapPath { heap: heap.name.to_string(), path, support }
        })
        .collect()
}
