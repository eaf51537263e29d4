// SPDX-License-Identifier: Apache-2.0
//! The pool's thread: takes buffers back, clears them, makes new ones, gives all back.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use dmabuf_uapi::dma_buf::reference_count;

use super::pressure::MemoryPressure;
use super::state::{Content, Key, Lent, Ready};
use super::Shared;
use crate::buffer::Buffer;
use crate::heap::{Allocated, BufferName, Purpose};

/// How soon the thread first looks whether a buffer has come back; it waits twice as long each time none has.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long a client that loads again can find its own buffer uncleared.
const CLEAR_AFTER: Duration = Duration::from_secs(1);

/// The name of a buffer that no client has.
const NAME: &str = "dmabuf-loader-pool";

/// Works until the pool is dropped.
pub(super) fn run(shared: &Shared) {
    let pressure = MemoryPressure::watch();
    let mut wait = LONGEST_WAIT;
    let mut look_at = Instant::now() + wait;
    while let Some(woken) = sleep_until(shared, look_at) {
        if woken {
            // A buffer was lent; it will not be back at once, but the next request may come.
            make_one(shared);
            wait = SHORTEST_WAIT;
            look_at = look_at.min(Instant::now() + wait);
            continue;
        }
        if pressure.as_ref().is_some_and(MemoryPressure::is_high) || is_idle(shared) {
            let dropped = shared.state().give_back();
            if !dropped.is_empty() {
                log::info!("the pool gives back {} buffers", dropped.len());
            }
        }
        wait = if take_back(shared) { SHORTEST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
        clear_old(shared);
        make_one(shared);
        look_at = Instant::now() + wait;
    }
}

/// Sleeps until then or until woken, and says which; `None` means stop.
fn sleep_until(shared: &Shared, then: Instant) -> Option<bool> {
    let state = shared.state();
    if state.stopping {
        return None;
    }
    let left = then.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Some(false);
    }
    let waited = shared.wake.wait_timeout(state, left);
    let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
    (!state.stopping).then_some(!timeout.timed_out())
}

fn is_idle(shared: &Shared) -> bool {
    let last = shared.state().last_request;
    last.is_some_and(|last| last.elapsed() >= shared.config.idle)
}

/// Takes back the buffers that nobody else holds any more; says whether there were any.
fn take_back(shared: &Shared) -> bool {
    // Out of the state meanwhile, so that requests need not wait for procfs.
    let lent = std::mem::take(&mut shared.state().lent);
    let (back, still_lent): (Vec<Lent>, Vec<Lent>) =
        lent.into_iter().partition(|lent| reference_count(&lent.fd) == Ok(1));
    shared.state().lent.extend(still_lent);
    let any = !back.is_empty();
    for lent in back {
        let over_cap = shared.state().add_returned(ready_again(lent), shared.config.max_bytes);
        drop(over_cap);
    }
    any
}

fn ready_again(lent: Lent) -> Ready {
    let Lent { fd, backing, key, client } = lent;
    let buffer =
        Buffer { fd, size_bytes: key.size_bytes, heap: key.heap.clone(), device_shareable: true };
    let allocated = Allocated { buffer, backing, pages: key.pages, is_zero: false };
    Ready { key, allocated, content: Content::Of(client), since: Instant::now() }
}

fn clear_old(shared: &Shared) {
    let Some(before) = Instant::now().checked_sub(CLEAR_AFTER) else { return };
    loop {
        let Some(mut ready) = shared.state().take_uncleared(before) else { return };
        match ready.allocated.view().clear(0, ready.key.size_bytes) {
            Ok(()) => {
                ready.allocated.is_zero = true;
                ready.content = Content::Zero;
                shared.state().add_cleared(ready);
            }
            // Dropped: what cannot be cleared must not reach anybody.
            Err(error) => log::warn!("a buffer of the pool cannot be cleared: {error}"),
        }
    }
}

/// Makes one buffer of a kind that is in use and of which none is left.
fn make_one(shared: &Shared) {
    let Some(key) = shared.state().lacking(shared.config.max_bytes) else { return };
    if let Some(allocated) = make(shared, &key) {
        let (content, since) = (Content::Zero, Instant::now());
        shared.state().add_made(Ready { key, allocated, content, since });
    }
}

fn make(shared: &Shared, key: &Key) -> Option<Allocated> {
    let heap = shared.heaps.by_name(&key.heap)?;
    let name = BufferName::new(NAME, NAME).ok()?;
    // Where there is no memory for it now, the next request finds out what there is.
    heap.allocate_of(key.size_bytes, key.pages, &name, Purpose::Fill).ok()
}
