// SPDX-License-Identifier: Apache-2.0
//! Buffers that are ready before they are asked for, so that a request has nothing to wait for but its I/O.
//!
//! A buffer that its client has released comes back once nobody else holds it: the kernel counts the references to a
//! dma-buf, those of mappings and of drivers among them. It goes out again as it is only to the client it came from, and
//! only for a load that overwrites it whole; for anybody else it is cleared first, off the request path. Of each kind of
//! buffer that is in use the pool keeps one ready, so that the next request finds it; not of small ones, which are made
//! faster than cleared. A client that loads again finds the buffer that it has just released: the request itself looks
//! whether that is back.
//!
//! The pool gives everything back when memory is short, and when nobody has asked for a while; then it sleeps.
//!
//! Bare memfds are not pooled: the kernel does not tell who else holds one.

mod pressure;
mod state;
mod worker;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::buffer::Buffer;
use crate::heap::{Allocated, BufferName, Heap, HeapKind, Heaps, Kept, PageKind};
use crate::request::ClientId;

use state::{Key, Lent, State};

pub use state::PoolStats;

/// How much the pool keeps, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The most bytes of buffers that no client has. 0 turns the pool off.
    pub max_bytes: u64,
    /// After so long without a request the pool gives everything back.
    pub idle: Duration,
}

impl PoolConfig {
    /// No pool.
    pub const OFF: Self = Self::of_bytes(0);

    /// A pool for small buffers only, which holds nothing but what clients have just released: it makes no buffer ahead and
    /// clears none. To make a small buffer and to free it costs about as much as to load it.
    pub const SMALL_BUFFERS: Self = Self::of_bytes(state::SMALL_BUFFER_BYTES);

    /// A pool of at most so many bytes.
    pub const fn of_bytes(max_bytes: u64) -> Self {
        Self { max_bytes, idle: Duration::from_secs(10) }
    }
}

/// What a request needs of a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) size_bytes: u64,
    pub(crate) pages: Option<PageKind>,
    pub(crate) client: ClientId,
    /// A load is going to overwrite every byte that was asked for.
    pub(crate) overwritten: bool,
    /// When it came to allocating.
    pub(crate) now: Instant,
}

/// The pool and its thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

/// What requests and the pool's thread share.
#[derive(Debug)]
struct Shared {
    config: PoolConfig,
    heaps: Arc<Heaps>,
    state: Mutex<State>,
    /// There may be something to do.
    wake: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Starts a pool; `None` where it is turned off or its thread cannot be started.
    pub(crate) fn start(config: PoolConfig, heaps: Arc<Heaps>) -> Option<Self> {
        if config.max_bytes == 0 {
            return None;
        }
        let (state, wake) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { config, heaps, state, wake });
        let for_worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("pool".to_owned());
        match thread.spawn(move || worker::run(&for_worker)) {
            Ok(worker) => Some(Self { shared, worker: Some(worker) }),
            Err(error) => {
                log::warn!("no pool: its thread cannot be started: {error}");
                None
            }
        }
    }

    fn key(&self, heap: &Heap, pages: Option<PageKind>, size_bytes: u64) -> Option<Key> {
        let poolable = heap.kind != HeapKind::Memfd && self.keeps(size_bytes);
        poolable.then(|| Key { heap: Arc::clone(&heap.name), pages, size_bytes })
    }

    /// Whether a buffer of so many bytes can come back here.
    pub(crate) fn keeps(&self, size_bytes: u64) -> bool {
        size_bytes <= self.shared.config.max_bytes
    }

    /// Whether a buffer of so many bytes is to come back here even if it was not loaded.
    pub(crate) fn keeps_zeroed(&self, size_bytes: u64) -> bool {
        self.keeps(size_bytes) && state::is_worth_clearing(size_bytes)
    }

    /// The kinds of pages of which [`Pool::take`] would find a buffer of a heap.
    pub(crate) fn ready_kinds(&self, heap: &Heap, wish: Wish) -> SmallVec<[Option<PageKind>; 3]> {
        let Some(mut key) = self.key(heap, None, wish.size_bytes) else { return SmallVec::new() };
        let state = self.shared.state();
        let is_ready = |pages: &Option<PageKind>| {
            key.pages = *pages;
            state.find(&key, wish).is_some()
        };
        heap.all_page_kinds().iter().copied().filter(is_ready).collect()
    }

    /// Takes a buffer back that a client has released, before it asks for one of this heap and size that it is going to
    /// overwrite. One is looked at, so that those who keep many do not wait.
    pub(crate) fn take_back(&self, heap: &Heap, wish: Wish) {
        let Wish { size_bytes, client, now, .. } = wish;
        if !self.keeps(size_bytes) {
            return;
        }
        let Some(lent) = self.shared.state().take_lent(&heap.name, size_bytes, client) else {
            return;
        };
        // Procfs is asked without the lock.
        let is_released = lent.is_released();
        let mut state = self.shared.state();
        let over_cap = if is_released {
            state.add_returned(lent.into_ready(now), self.shared.config.max_bytes)
        } else {
            state.still_lent(lent);
            None
        };
        drop(state);
        drop(over_cap);
    }

    /// A buffer for a request, if one is ready.
    pub(crate) fn take(&self, heap: &Heap, wish: Wish, name: &BufferName) -> Option<Allocated> {
        let key = self.key(heap, wish.pages, wish.size_bytes)?;
        let ready = self.shared.state().take(&key, wish)?;
        ready.into_allocated(name)
    }

    /// Remembers a buffer that is handed over, so that it can come back. Where the pool keeps it, its memory stays mapped
    /// here: to unmap and map base pages would cost more than the next load. Nothing touches it until the buffer is back.
    pub(crate) fn lend(&self, allocated: Allocated, client: ClientId) -> Buffer {
        let Allocated { buffer, backing, pages, kept, .. } = allocated;
        let heap = self.shared.heaps.by_name(&buffer.heap);
        let key = heap.and_then(|heap| self.key(heap, pages, buffer.size_bytes));
        let Some(key) = key else { return buffer };
        let stays_mapped = backing.is_none() && !key.is_worth_clearing();
        let keep = || Kept::new(buffer.fd.try_clone().ok()?, stays_mapped);
        let Some(kept) = kept.or_else(keep) else {
            return buffer;
        };
        let lent = Lent { buffer: kept, backing, key, client };
        let mut state = self.shared.state();
        let is_looked_at = worker::looks_soon(&state, &lent.key);
        let not_remembered = state.lend(lent, self.shared.config.max_bytes);
        if !is_looked_at || state.lacking(self.shared.config.max_bytes).is_some() {
            self.shared.wake.notify_one();
        }
        drop(state);
        drop(not_remembered);
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
