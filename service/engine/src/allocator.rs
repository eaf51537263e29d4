// SPDX-License-Identifier: Apache-2.0
//! Where buffers come from: the pool or a heap, in the order that a plan gives.

use std::sync::Arc;
use std::time::Instant;

use crate::admission::Admission;
use crate::buffer::{Allocated, Buffer, BufferName, PageKind};
use crate::capabilities::Capabilities;
use crate::context::ClientId;
use crate::error::{EngineError, Result};
use crate::heap::{round_to_pages, Heap, Heaps, Purpose};
use crate::plan::{Alternative, MemoryOption};
use crate::pool::{AllocRequest, Pool, PoolConfig, PoolStats};
use crate::request::NewBuffer;

/// The debug name of a buffer whose client gives none.
const DEFAULT_BUFFER_NAME: &str = "dmabuf-loader";

/// The heaps, what the kernel can do with their buffers, and the pool.
#[derive(Debug)]
pub(crate) struct Allocator {
    heaps: Arc<Heaps>,
    capabilities: Capabilities,
    admission: Arc<Admission>,
    pool: Option<Pool>,
}

/// A new buffer that a load asks for: its name and size are checked.
#[derive(Clone, Debug)]
pub(crate) struct NamedSize {
    name: BufferName,
    /// Whole pages.
    pub(crate) size_bytes: u64,
}

impl NamedSize {
    /// Checks name and size of a request.
    ///
    /// # Errors
    /// [`EngineError::BadArgument`].
    pub(crate) fn new(new: &NewBuffer) -> Result<Self> {
        let name = BufferName::new(&new.name, DEFAULT_BUFFER_NAME)?;
        Ok(Self { name, size_bytes: round_to_pages(new.size_bytes)? })
    }
}

impl Allocator {
    /// Tries every path on each heap, and starts the pool.
    pub(crate) fn new(heaps: Heaps, pool: PoolConfig) -> Self {
        let capabilities = Capabilities::probe(&heaps);
        let heaps = Arc::new(heaps);
        let admission = Arc::new(Admission::new());
        let pool = Pool::start(pool, Arc::clone(&heaps), Arc::clone(&admission));
        Self { heaps, capabilities, admission, pool }
    }

    pub(crate) fn heaps(&self) -> &Heaps {
        &self.heaps
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(crate) fn pool_stats(&self) -> Option<PoolStats> {
        self.pool.as_ref().map(Pool::stats)
    }

    /// Allocates a zeroed buffer and exports it: from the heap of that name, or for an empty name
    /// from the first heap that can hold it and has the memory.
    ///
    /// # Errors
    /// [`EngineError::BadArgument`], [`EngineError::HeapUnknown`]; those of
    /// [`Admission::allocate`] for the last heap that was tried.
    pub(crate) fn allocate(&self, new: &NewBuffer, client: ClientId) -> Result<Buffer> {
        let named = NamedSize::new(new)?;
        let size_bytes = named.size_bytes;
        let heaps = self.heaps.suitable(&new.heap, size_bytes)?;
        let pooled = self.pool.as_ref().is_some_and(|pool| pool.keeps_zeroed(size_bytes));
        // What is to come back has to keep the memory behind it.
        let purpose = if pooled { Purpose::Fill } else { Purpose::Export };
        let request = AllocRequest { size_bytes, client, overwritten: false, now: Instant::now() };
        let attempts = heaps.into_iter().flat_map(|heap| {
            let pages = self.pages_of(heap, request).into_iter();
            pages.map(move |(pages, _)| (heap, pages))
        });
        let allocated = first_success(attempts.map(|(heap, pages)| {
            self.take_or_allocate(heap, pages, request, &named.name, purpose)
        }))?;
        if pooled {
            Ok(self.export(allocated, client))
        } else {
            Ok(allocated.buffer)
        }
    }

    /// What a new buffer of a load could be made of.
    ///
    /// # Errors
    /// [`EngineError::HeapUnknown`], [`EngineError::BadArgument`].
    pub(crate) fn options(&self, heap: &str, request: AllocRequest) -> Result<Vec<MemoryOption>> {
        let heaps = self.heaps.suitable(heap, request.size_bytes)?;
        if let (Some(pool), true) = (&self.pool, request.overwritten) {
            heaps.iter().for_each(|heap| pool.reclaim(heap, request));
        }
        let stays_mapped = self.pool.as_ref().is_some_and(|pool| pool.keeps(request.size_bytes));
        let of_heap = |heap: &Heap| {
            let copy_file_range = self.capabilities.copy_file_range(&heap.name);
            let (name, kind) = (Arc::clone(&heap.name), heap.kind);
            self.pages_of(heap, request).into_iter().map(move |(pages, is_free)| MemoryOption {
                heap: Arc::clone(&name),
                kind,
                pages,
                copy_file_range: copy_file_range.clone(),
                is_free,
                stays_mapped,
            })
        };
        Ok(heaps.into_iter().flat_map(of_heap).collect())
    }

    /// The pages that a buffer could be made of, and whether the pool has one free. Of a heap of
    /// which the pool has some free the kernel is not asked what else it has: nothing new is as
    /// cheap. The last kind of a heap is always there, should another request be faster.
    fn pages_of(&self, heap: &Heap, request: AllocRequest) -> Vec<(Option<PageKind>, bool)> {
        let free = self.pool.as_ref().map(|pool| pool.free_kinds(heap, request));
        let free = free.unwrap_or_default();
        if free.is_empty() {
            let kinds = heap.page_kinds(request.size_bytes).into_iter();
            return kinds.map(|pages| (pages, false)).collect();
        }
        let last = heap.kind.all_page_kinds().last().copied().flatten();
        let lacks_last = !free.contains(&last);
        let mut kinds: Vec<_> = free.into_iter().map(|pages| (pages, true)).collect();
        if lacks_last {
            kinds.push((last, false));
        }
        kinds
    }

    /// Allocates the first of the planned alternatives that has the memory, and says which it is.
    ///
    /// # Errors
    /// Those of [`Admission::allocate`] for the last one.
    pub(crate) fn acquire(
        &self,
        alternatives: &[Alternative],
        named: &NamedSize,
        request: AllocRequest,
    ) -> Result<(Allocated, usize)> {
        first_success(alternatives.iter().enumerate().filter_map(|(index, alternative)| {
            let heap = self.heaps.by_name(&alternative.memory.heap)?;
            let purpose = if alternative.is_backed { Purpose::Fill } else { Purpose::Export };
            let pages = alternative.memory.pages;
            let taken = self.take_or_allocate(heap, pages, request, &named.name, purpose);
            Some(taken.map(|allocated| (allocated, index)))
        }))
    }

    fn take_or_allocate(
        &self,
        heap: &Heap,
        pages: Option<PageKind>,
        request: AllocRequest,
        name: &BufferName,
        purpose: Purpose,
    ) -> Result<Allocated> {
        let free = self.pool.as_ref().and_then(|pool| pool.take(heap, pages, request, name));
        free.map_or_else(
            || self.admission.allocate(heap, request.size_bytes, pages, name, purpose),
            Ok,
        )
    }

    /// Ends the mapping of the buffer's memory, unless the pool is to have the buffer back.
    pub(crate) fn export(&self, allocated: Allocated, client: ClientId) -> Buffer {
        match &self.pool {
            Some(pool) => pool.track(allocated, client),
            None => allocated.buffer,
        }
    }
}

/// The result of the first attempt that succeeds, else the last failure.
fn first_success<T>(attempts: impl Iterator<Item = Result<T>>) -> Result<T> {
    let mut failure = None;
    for attempt in attempts {
        match attempt {
            Ok(success) => return Ok(success),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(EngineError::no_suitable_heap))
}

#[cfg(test)]
mod tests {
    use dmabuf_uapi::Errno;

    use super::*;

    #[test]
    fn the_next_heap_is_tried_where_one_has_no_memory() {
        let no_memory = |heap: &str| EngineError::NoMemory {
            heap: heap.to_owned(),
            size_bytes: 4096,
            errno: Errno::NOMEM,
        };
        let attempts = [Err(no_memory("a")), Ok("b"), Ok("c")];
        assert_eq!(first_success(attempts.into_iter()), Ok("b"));
        let attempts = [Err::<&str, _>(no_memory("a")), Err(no_memory("b"))];
        assert_eq!(first_success(attempts.into_iter()), Err(no_memory("b")));
    }
}
