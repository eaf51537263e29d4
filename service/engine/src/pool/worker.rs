// SPDX-License-Identifier: Apache-2.0
//! The pool's thread: reclaims buffers, zeroes them, makes new ones, frees what nobody needs.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use dmabuf_uapi::dma_buf::CpuAccess;

use super::alloc_request::Key;
use super::buffers::{Content, Free, InUse};
use super::pressure::{MemoryPressure, PressureWatch};
use super::shared::Shared;
use super::state::State;
use crate::buffer::{BufferName, CpuView, RetainedBuffer};
use crate::heap::Purpose;

/// How soon the thread first looks whether a buffer was released; it waits twice as long each time
/// none was. Small ones are for their client alone, whose requests look themselves, so that it
/// waits longest for these.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long a client that loads again can find its own buffer as it left it.
const ZERO_AFTER: Duration = Duration::from_secs(1);

/// The name of a buffer that no client has.
const NAME: &str = "dmabuf-loader-pool";

/// Works until the pool is dropped.
pub(super) fn run(shared: &Shared) {
    let mut pressure = MemoryPressure::watch();
    shared.state().pressure = match &pressure {
        Ok(_) => PressureWatch::Watched,
        Err(errno) => PressureWatch::NotWatched(*errno),
    };
    let mut wait = SHORTEST_WAIT;
    let mut look_at = None;
    while let Some(woken) = sleep_until(shared, look_at) {
        if woken {
            // A buffer went out; its client will not release it at once, but another may ask.
            make_one(shared);
            wait = first_wait(shared);
            let soon = Instant::now() + wait;
            look_at = Some(look_at.map_or(soon, |at| soon.min(at)));
            continue;
        }
        let is_idle = is_idle(shared);
        if is_idle || pressure.as_mut().is_ok_and(MemoryPressure::is_high) {
            shrink(shared, is_idle);
        }
        let doubled = (wait * 2).min(LONGEST_WAIT);
        wait = if reclaim(shared) { first_wait(shared) } else { doubled };
        zero_old(shared);
        make_one(shared);
        look_at = Some(Instant::now() + wait);
    }
}

/// Whether the next look is soon enough for a buffer that the last request gets.
pub(super) fn looks_soon(state: &State, key: &Key) -> bool {
    let (next, last) = (state.next_look, state.last_request);
    next.zip(last).is_some_and(|(next, last)| next <= last + patience_with(key))
}

fn patience_with(key: &Key) -> Duration {
    if key.pays_to_zero() {
        SHORTEST_WAIT
    } else {
        LONGEST_WAIT
    }
}

/// How soon to look at what is in use.
fn first_wait(shared: &Shared) -> Duration {
    let state = shared.state();
    state.in_use.iter().map(|in_use| patience_with(&in_use.key)).min().unwrap_or(LONGEST_WAIT)
}

/// Sleeps until then or until woken, and says which; `None` means stop. An empty pool sleeps until
/// woken.
fn sleep_until(shared: &Shared, then: Option<Instant>) -> Option<bool> {
    let mut state = shared.state();
    if state.stopping {
        return None;
    }
    if state.is_empty() {
        state.next_look = None;
        let woken = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        return (!woken.stopping).then_some(true);
    }
    let Some(then) = then else { return Some(true) };
    let left = then.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Some(false);
    }
    state.next_look = Some(then);
    let waited = shared.wake.wait_timeout(state, left);
    let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
    (!state.stopping).then_some(!timeout.timed_out())
}

fn is_idle(shared: &Shared) -> bool {
    let last = shared.state().last_request;
    last.is_some_and(|last| last.elapsed() >= shared.config.idle)
}

/// Frees what no client has. Where nobody asks, the pool does not wait for what clients have
/// either.
fn shrink(shared: &Shared, is_idle: bool) {
    let mut state = shared.state();
    let dropped = state.shrink();
    let forgotten = if is_idle { std::mem::take(&mut state.in_use) } else { Vec::new() };
    drop(state);
    if !dropped.is_empty() {
        log::info!("the pool frees {} buffers", dropped.len());
    }
    drop(forgotten);
}

/// Reclaims the buffers that nobody else holds any more; says whether there were any.
fn reclaim(shared: &Shared) -> bool {
    // Out of the state meanwhile, so that requests need not wait for procfs.
    let in_use = std::mem::take(&mut shared.state().in_use);
    let (released, held): (Vec<InUse>, Vec<InUse>) =
        in_use.into_iter().partition(InUse::is_released);
    shared.state().in_use.extend(held);
    let any = !released.is_empty();
    for in_use in released {
        let reclaimed = in_use.reclaimed(Instant::now());
        let over_cap = shared.state().add_if_reclaimed(reclaimed, shared.config.max_bytes);
        drop(over_cap);
    }
    any
}

fn zero_old(shared: &Shared) {
    let Some(before) = Instant::now().checked_sub(ZERO_AFTER) else { return };
    loop {
        let Some(mut free) = shared.state().take_not_zeroed(before) else { return };
        if !free.key.pays_to_zero() {
            shared.state().count_freed();
            continue;
        }
        match zero(&free) {
            Ok(()) => {
                free.content = Content::Zero;
                shared.state().add_zeroed(free);
            }
            // Dropped: what cannot be zeroed must not reach anybody.
            Err(error) => log::warn!("a buffer of the pool cannot be zeroed: {error}"),
        }
    }
}

fn zero(free: &Free) -> crate::error::Result<()> {
    let cpu = CpuView::new(free.view(), CpuAccess::WRITE);
    cpu.zero(0, free.key.size_bytes)?;
    cpu.end()
}

/// Makes one buffer of a kind of which one is to be free and none is.
fn make_one(shared: &Shared) {
    let Some(key) = shared.state().lacking(shared.config.max_bytes) else { return };
    if let Some(free) = make(shared, key) {
        shared.state().add_made(free);
    }
}

fn make(shared: &Shared, key: Key) -> Option<Free> {
    let heap = shared.heaps.by_name(&key.heap)?;
    let name = BufferName::new(NAME, NAME).ok()?;
    // Without memory for it now, the next request finds out what else can be allocated.
    let allocated =
        shared.admission.allocate(heap, key.size_bytes, key.pages, &name, Purpose::Fill);
    let allocated = allocated.ok()?;
    let buffer = RetainedBuffer::new(allocated.buffer.fd, false)?;
    let (backing, content) = (allocated.backing, Content::Zero);
    Some(Free { key, buffer, backing, content, since: Instant::now() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dmabuf_uapi::memfd::create_sealed;

    use super::super::config::PoolConfig;
    use super::*;
    use crate::admission::Admission;
    use crate::context::ClientId;
    use crate::heap::{HeapConfig, Heaps};

    #[test]
    fn a_buffer_whose_pages_can_be_held_is_freed_not_zeroed() {
        const SIZE_BYTES: u64 = 1 << 20;
        let heaps = Heaps::discover(&HeapConfig::default(), SIZE_BYTES, true, |_| false);
        let admission = Arc::new(Admission::new());
        let shared = Shared::new(PoolConfig::of_bytes(SIZE_BYTES), Arc::new(heaps), admission);
        let memfd = create_sealed(c"held", SIZE_BYTES).unwrap();
        let key = Key {
            heap: "udmabuf".into(),
            pages: None,
            size_bytes: SIZE_BYTES,
            pages_can_be_held: true,
        };
        let since = Instant::now().checked_sub(2 * ZERO_AFTER).unwrap();
        let buffer = RetainedBuffer::new(memfd, false).unwrap();
        let content = Content::Of(ClientId(1));
        shared.state().free.push(Free { key, buffer, backing: None, content, since });
        zero_old(&shared);
        let stats = shared.state().stats();
        assert_eq!((stats.free, stats.freed, stats.zeroed_bytes), (0, 1, 0));
    }
}
