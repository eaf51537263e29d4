// SPDX-License-Identifier: Apache-2.0
//! A bounded number of batches moves at a time; who waits gets the next turn in the order of a
//! [`FairQueue`].
//!
//! A turn that lasts too long counts no more: the storage of one client may have stalled, and the
//! others go on without it. While somebody asks for latency-critical turns, those of others are
//! short.

use std::time::{Duration, Instant};

use dmabuf_engine::{BatchOrder, Context, Grant, Priority};

use crate::fair_queue::{FairQueue, Flow};
use crate::sync::{lock, Arc, Condvar, Mutex};

/// How often who waits asks whether to go on waiting, and looks for turns that are overdue.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// A batch takes less on storage that works: 32 MiB at 64 MiB/s.
const OVERDUE: Duration = Duration::from_millis(500);

/// After a latency-critical turn another one is expected for so long.
const CRITICAL_EXPECTED: Duration = Duration::from_secs(2);

/// The most that a turn moves meanwhile, in bytes, unless it is latency-critical itself.
const SHORT_TURN_BYTES: u64 = 512 << 10;

/// Somebody who waits for a turn. Locked after the state of [`Turns`] where both are.
#[derive(Debug, Default)]
struct Waiter {
    granted: Mutex<Option<u64>>,
    wake: Condvar,
}

#[derive(Debug)]
struct Held {
    id: u64,
    since: Instant,
}

#[derive(Debug)]
struct State {
    at_a_time: usize,
    held: Vec<Held>,
    last_id: u64,
    last_critical: Option<Instant>,
    queue: FairQueue<Arc<Waiter>>,
}

impl State {
    fn new(at_a_time: usize) -> Self {
        let queue = FairQueue::default();
        Self { at_a_time, held: Vec::new(), last_id: 0, last_critical: None, queue }
    }

    fn has_free(&self, now: Instant) -> bool {
        let counts = |held: &&Held| now.duration_since(held.since) < OVERDUE;
        self.held.iter().filter(counts).count() < self.at_a_time
    }

    fn hold(&mut self, now: Instant) -> u64 {
        self.last_id += 1;
        self.held.push(Held { id: self.last_id, since: now });
        self.last_id
    }

    /// Gives free turns to those who wait.
    fn grant(&mut self, now: Instant) {
        while self.has_free(now) {
            let Some(waiter) = self.queue.pop() else { return };
            *lock(&waiter.granted) = Some(self.hold(now));
            waiter.wake.notify_one();
        }
    }

    fn end(&mut self, id: u64, now: Instant) {
        self.held.retain(|held| held.id != id);
        self.grant(now);
    }

    /// The longest turn of a flow, in bytes.
    fn longest(&mut self, flow: Flow, now: Instant) -> u64 {
        if flow.priority == Priority::LatencyCritical {
            self.last_critical = Some(now);
            return u64::MAX;
        }
        let expected =
            self.last_critical.is_some_and(|last| now.duration_since(last) < CRITICAL_EXPECTED);
        if expected {
            SHORT_TURN_BYTES
        } else {
            u64::MAX
        }
    }
}

/// The turns that there are. Clones share them.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Mutex<State>>);

impl Turns {
    /// So many turns at a time: at least one.
    pub fn new(at_a_time: usize) -> Self {
        Self(Arc::new(Mutex::new(State::new(at_a_time.max(1)))))
    }

    /// Waits for a turn to move up to `len_bytes`. Whoever gets it calls [`Turns::give_back`].
    ///
    /// # Errors
    /// That of `may_go_on`, which is asked every 50 ms of waiting.
    pub fn take<E>(
        &self,
        flow: Flow,
        len_bytes: u64,
        may_go_on: impl Fn() -> Result<(), E>,
    ) -> Result<Grant, E> {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let len_bytes = len_bytes.min(state.longest(flow, now));
        if state.has_free(now) && state.queue.is_empty() {
            let id = state.hold(now);
            return Ok(Grant { id, len_bytes });
        }
        let waiter = Arc::new(Waiter::default());
        let ticket = state.queue.push(flow, len_bytes, Arc::clone(&waiter));
        state.grant(now);
        drop(state);
        loop {
            if let Some(id) = wait(&waiter) {
                return Ok(Grant { id, len_bytes });
            }
            let stop = may_go_on().err();
            let mut state = lock(&self.0);
            let now = Instant::now();
            match stop {
                None => state.grant(now),
                Some(error) => {
                    if state.queue.remove(flow, ticket).is_none() {
                        // A turn was granted meanwhile: it goes to the next.
                        let granted = *lock(&waiter.granted);
                        granted.into_iter().for_each(|id| state.end(id, now));
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Ends a turn.
    pub fn give_back(&self, grant: Grant) {
        lock(&self.0).end(grant.id, Instant::now());
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        lock(&self.0).queue.len()
    }

    /// How many turns have lasted too long to count.
    pub fn overdue(&self) -> usize {
        let now = Instant::now();
        let is_overdue = |held: &&Held| now.duration_since(held.since) >= OVERDUE;
        lock(&self.0).held.iter().filter(is_overdue).count()
    }
}

/// Waits for a turn, for a while.
fn wait(waiter: &Waiter) -> Option<u64> {
    let granted = lock(&waiter.granted);
    if granted.is_some() {
        return *granted;
    }
    let waited = waiter.wake.wait_timeout(granted, CHECK_EVERY);
    *waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
}

impl BatchOrder for Turns {
    fn begin(&self, context: &Context, len_bytes: u64) -> dmabuf_engine::Result<Grant> {
        let flow = Flow { client: context.client, priority: context.priority };
        self.take(flow, len_bytes, || context.check())
    }

    fn end(&self, grant: Grant) {
        self.give_back(grant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmabuf_engine::ClientId;

    fn flow(priority: Priority) -> Flow {
        Flow { client: ClientId(1), priority }
    }

    #[test]
    fn a_turn_that_lasts_too_long_counts_no_more() {
        let (mut state, now) = (State::new(1), Instant::now());
        let stalled = state.hold(now);
        assert!(!state.has_free(now + OVERDUE / 2));
        let later = now + OVERDUE;
        assert!(state.has_free(later));
        state.hold(later);
        assert!(!state.has_free(later), "one beside the stalled one");
        state.end(stalled, later);
        assert!(!state.has_free(later), "its end frees nothing");
    }

    #[test]
    fn turns_are_short_while_critical_ones_are_expected() {
        let (mut state, now) = (State::new(1), Instant::now());
        assert_eq!(state.longest(flow(Priority::Bulk), now), u64::MAX);
        assert_eq!(state.longest(flow(Priority::LatencyCritical), now), u64::MAX);
        for priority in [Priority::Bulk, Priority::Normal] {
            let soon = now + CRITICAL_EXPECTED / 2;
            assert_eq!(state.longest(flow(priority), soon), SHORT_TURN_BYTES);
            assert_eq!(state.longest(flow(priority), now + CRITICAL_EXPECTED), u64::MAX);
        }
    }
}
