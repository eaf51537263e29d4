// SPDX-License-Identifier: Apache-2.0
//! The pool's thread: takes buffers back, clears them, makes new ones, gives all back.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::pressure::MemoryPressure;
use super::state::{Content, Key, Lent, Ready, State};
use super::Shared;
use crate::heap::{BufferName, Kept, Purpose};

/// How soon the thread first looks whether a buffer has come back; it waits twice as long each time none has. Small ones
/// are for their client alone, whose requests look themselves, so that it waits longest for these.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long a client that loads again can find its own buffer uncleared.
const CLEAR_AFTER: Duration = Duration::from_secs(1);

/// The name of a buffer that no client has.
const NAME: &str = "dmabuf-loader-pool";

/// Works until the pool is dropped.
pub(super) fn run(shared: &Shared) {
    let pressure = MemoryPressure::watch();
    let mut wait = SHORTEST_WAIT;
    let mut look_at = None;
    while let Some(woken) = sleep_until(shared, look_at) {
        if woken {
            // A buffer was lent; it will not be back at once, but the next request may come.
            make_one(shared);
            wait = first_wait(shared);
            let soon = Instant::now() + wait;
            look_at = Some(look_at.map_or(soon, |at| soon.min(at)));
            continue;
        }
        let is_idle = is_idle(shared);
        if is_idle || pressure.as_ref().is_some_and(MemoryPressure::is_high) {
            give_back(shared, is_idle);
        }
        let doubled = (wait * 2).min(LONGEST_WAIT);
        wait = if take_back(shared) { first_wait(shared) } else { doubled };
        clear_old(shared);
        make_one(shared);
        look_at = Some(Instant::now() + wait);
    }
}

/// Whether the next look is soon enough for a buffer that the last request is lent.
pub(super) fn looks_soon(state: &State, lent: &Key) -> bool {
    let (next, last) = (state.next_look, state.last_request);
    next.zip(last).is_some_and(|(next, last)| next <= last + patience_with(lent))
}

fn patience_with(lent: &Key) -> Duration {
    if lent.is_worth_clearing() {
        SHORTEST_WAIT
    } else {
        LONGEST_WAIT
    }
}

/// How soon to look at what is lent.
fn first_wait(shared: &Shared) -> Duration {
    let state = shared.state();
    state.lent.iter().map(|lent| patience_with(&lent.key)).min().unwrap_or(LONGEST_WAIT)
}

/// Sleeps until then or until woken, and says which; `None` means stop. An empty pool sleeps until woken.
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

/// Gives back what no client has. Where nobody asks, those that clients have need not come back either.
fn give_back(shared: &Shared, is_idle: bool) {
    let mut state = shared.state();
    let dropped = state.give_back();
    let forgotten = if is_idle { std::mem::take(&mut state.lent) } else { Vec::new() };
    drop(state);
    if !dropped.is_empty() {
        log::info!("the pool gives back {} buffers", dropped.len());
    }
    drop(forgotten);
}

/// Takes back the buffers that nobody else holds any more; says whether there were any.
fn take_back(shared: &Shared) -> bool {
    // Out of the state meanwhile, so that requests need not wait for procfs.
    let lent = std::mem::take(&mut shared.state().lent);
    let (back, still_lent): (Vec<Lent>, Vec<Lent>) = lent.into_iter().partition(Lent::is_released);
    shared.state().lent.extend(still_lent);
    let any = !back.is_empty();
    for lent in back {
        let over_cap =
            shared.state().add_returned(lent.into_ready(Instant::now()), shared.config.max_bytes);
        drop(over_cap);
    }
    any
}

fn clear_old(shared: &Shared) {
    let Some(before) = Instant::now().checked_sub(CLEAR_AFTER) else { return };
    loop {
        let Some(mut ready) = shared.state().take_uncleared(before) else { return };
        if !ready.key.is_worth_clearing() {
            shared.state().count_given_back();
            continue;
        }
        match ready.view().clear(0, ready.key.size_bytes) {
            Ok(()) => {
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
    if let Some(ready) = make(shared, key) {
        shared.state().add_made(ready);
    }
}

fn make(shared: &Shared, key: Key) -> Option<Ready> {
    let heap = shared.heaps.by_name(&key.heap)?;
    let name = BufferName::new(NAME, NAME).ok()?;
    // Where there is no memory for it now, the next request finds out what there is.
    let allocated = heap.allocate_of(key.size_bytes, key.pages, &name, Purpose::Fill).ok()?;
    let buffer = Kept::new(allocated.buffer.fd, false)?;
    let (backing, content) = (allocated.backing, Content::Zero);
    Some(Ready { key, buffer, backing, content, since: Instant::now() })
}
