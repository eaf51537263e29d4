// SPDX-License-Identifier: Apache-2.0
//! Buffers that are free before they are asked for, so that a request waits for its I/O alone.
//!
//! The pool reclaims a buffer once nobody else holds it: the kernel counts the references to a
//! dma-buf, those of mappings and of drivers among them. The buffer goes out again as it is only to
//! the client it came from, and only for a load that overwrites it whole; for anybody else the pool
//! zeroes it first, off the request path. Of each kind of buffer that is in use the pool keeps one
//! free, so that the next request finds it; not of small ones, which are made faster than zeroed. A
//! request that overwrites its buffer also checks the oldest buffer that went to its client.
//!
//! Where a client can hold pages of a buffer beyond its release, nobody else gets that buffer.
//!
//! The pool frees everything when memory is short, and when nobody has asked for a while; then it
//! sleeps. It waits for no device: a buffer with a fence that has not signalled is freed, not
//! reused.
//!
//! Bare memfds are not pooled: the kernel does not tell who else holds one.

mod alloc_request;
mod buffers;
mod config;
mod pressure;
mod shared;
mod state;
mod stats;
mod worker;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::admission::Admission;
use crate::buffer::{Allocated, Buffer, BufferName, PageKind, RetainedBuffer};
use crate::context::ClientId;
use crate::heap::{Heap, HeapKind, Heaps};

use alloc_request::{pays_to_zero, Key};
use buffers::InUse;
use shared::Shared;

pub(crate) use alloc_request::AllocRequest;
pub use config::PoolConfig;
pub use pressure::PressureWatch;
pub use stats::PoolStats;

/// The pool and its thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

impl Pool {
    /// Starts a pool; `None` where it is turned off or its thread cannot be started.
    pub(crate) fn start(
        config: PoolConfig,
        heaps: Arc<Heaps>,
        admission: Arc<Admission>,
    ) -> Option<Self> {
        if config.max_bytes == 0 {
            return None;
        }
        let shared = Arc::new(Shared::new(config, heaps, admission));
        let for_worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("pool".to_owned());
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| worker::run(&for_worker))).is_err() {
                log::error!("the pool is off: its thread has panicked");
                for_worker.turn_off();
            }
        };
        match thread.spawn(run) {
            Ok(worker) => Some(Self { shared, worker: Some(worker) }),
            Err(error) => {
                log::warn!("no pool: its thread cannot be started: {error}");
                None
            }
        }
    }

    fn key(&self, heap: &Heap, pages: Option<PageKind>, size_bytes: u64) -> Option<Key> {
        let poolable = heap.kind != HeapKind::Memfd && self.keeps(size_bytes);
        let (name, pages_can_be_held) = (&heap.name, heap.pages_can_be_held);
        poolable.then(|| Key { heap: Arc::clone(name), pages, size_bytes, pages_can_be_held })
    }

    /// Whether a buffer of so many bytes can come back here.
    pub(crate) fn keeps(&self, size_bytes: u64) -> bool {
        size_bytes <= self.shared.config.max_bytes
    }

    /// Whether a buffer of so many bytes is to come back here even if it was not loaded.
    pub(crate) fn keeps_zeroed(&self, size_bytes: u64) -> bool {
        self.keeps(size_bytes) && pays_to_zero(size_bytes)
    }

    /// The kinds of pages of which [`Pool::take`] would find a buffer of a heap.
    pub(crate) fn free_kinds(&self, heap: &Heap, request: AllocRequest) -> Vec<Option<PageKind>> {
        let Some(mut key) = self.key(heap, None, request.size_bytes) else { return Vec::new() };
        let state = self.shared.state();
        let is_free = |pages: &Option<PageKind>| {
            key.pages = *pages;
            state.find(&key, request).is_some()
        };
        heap.kind.all_page_kinds().iter().copied().filter(is_free).collect()
    }

    /// Reclaims the oldest buffer of this heap and size that went to the client of a request, if
    /// that client has released it. Only one is checked, so that clients with many do not wait.
    pub(crate) fn reclaim(&self, heap: &Heap, request: AllocRequest) {
        let AllocRequest { size_bytes, client, now, .. } = request;
        if !self.keeps(size_bytes) {
            return;
        }
        let taken = self.shared.state().take_in_use(&heap.name, size_bytes, client);
        let Some(in_use) = taken else { return };
        // Procfs and the buffer are asked without the lock.
        if !in_use.is_released() {
            return self.shared.state().put_back(in_use);
        }
        let reclaimed = in_use.reclaimed(now);
        let over_cap =
            self.shared.state().add_if_reclaimed(reclaimed, self.shared.config.max_bytes);
        drop(over_cap);
    }

    /// A buffer for a request, if one is free.
    pub(crate) fn take(
        &self,
        heap: &Heap,
        pages: Option<PageKind>,
        request: AllocRequest,
        name: &BufferName,
    ) -> Option<Allocated> {
        let key = self.key(heap, pages, request.size_bytes)?;
        let free = self.shared.state().take(&key, request)?;
        free.into_allocated(name)
    }

    /// Tracks a buffer that goes to a client, so that it can be reclaimed. The memory behind a
    /// buffer that the pool keeps stays mapped here: unmapping base pages and mapping them again
    /// would cost more than the next load. Nothing touches that memory before the buffer is back.
    pub(crate) fn track(&self, allocated: Allocated, client: ClientId) -> Buffer {
        let Allocated { buffer, backing, pages, retained, .. } = allocated;
        let heap = self.shared.heaps.by_name(&buffer.heap);
        let key = heap.and_then(|heap| self.key(heap, pages, buffer.size_bytes));
        let Some(key) = key else { return buffer };
        let stays_mapped = backing.is_none() && !pays_to_zero(key.size_bytes);
        let retain = || RetainedBuffer::new(buffer.fd.try_clone().ok()?, stays_mapped);
        let Some(retained) = retained.or_else(retain) else {
            return buffer;
        };
        let in_use = InUse { buffer: retained, backing, key, client };
        let max_bytes = self.shared.config.max_bytes;
        let mut state = self.shared.state();
        let is_looked_at = worker::looks_soon(&state, &in_use.key);
        let not_tracked = state.track(in_use, max_bytes);
        if !is_looked_at || state.lacking(max_bytes).is_some() {
            self.shared.wake.notify_one();
        }
        drop(state);
        drop(not_tracked);
        buffer
    }

    /// What the pool has done so far.
    pub(crate) fn stats(&self) -> PoolStats {
        self.shared.state().stats()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        self.shared.wake.notify_one();
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}
