// SPDX-License-Identifier: Apache-2.0
//! A bounded number of requests runs at a time, and of batches moves; who waits gets the next turn
//! in the order of a [`FairQueue`].
//!
//! A turn that lasts too long counts no more: the storage of one client may have stalled, and the
//! others go on without it. While several clients wait, each has at most half of the turns. While
//! latency-critical turns are expected, all others together have half of them, and short ones.

use std::time::{Duration, Instant};

use dmabuf_engine::{ClientId, Grant, Priority};

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
    client: ClientId,
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

    /// Whether a turn is free for a flow, where several clients wait or not.
    fn is_free_for(&self, flow: Flow, several_wait: bool, now: Instant) -> bool {
        let half = self.at_a_time.div_ceil(2);
        let counts = |held: &&Held| now.duration_since(held.since) < OVERDUE;
        let held = self.held.iter().filter(counts);
        let of_client = held.clone().filter(|held| held.client == flow.client).count();
        let for_others = flow.priority != Priority::LatencyCritical && self.expects_critical(now);
        held.count() < if for_others { half } else { self.at_a_time }
            && (of_client < half || !several_wait)
    }

    fn hold(&mut self, client: ClientId, now: Instant) -> u64 {
        self.last_id += 1;
        self.held.push(Held { id: self.last_id, client, since: now });
        self.last_id
    }

    /// Gives free turns to those who wait.
    fn grant(&mut self, now: Instant) {
        loop {
            let mut queue = std::mem::take(&mut self.queue);
            let several_wait = queue.has_several_clients();
            let next = queue.pop_where(|flow| self.is_free_for(flow, several_wait, now));
            self.queue = queue;
            let Some((flow, waiter)) = next else { return };
            *lock(&waiter.granted) = Some(self.hold(flow.client, now));
            waiter.wake.notify_one();
        }
    }

    fn end(&mut self, id: u64, now: Instant) {
        self.held.retain(|held| held.id != id);
        self.grant(now);
    }

    fn expects_critical(&self, now: Instant) -> bool {
        self.last_critical.is_some_and(|last| now.duration_since(last) < CRITICAL_EXPECTED)
    }

    /// The longest turn of a flow, in bytes.
    fn longest(&mut self, flow: Flow, now: Instant) -> u64 {
        if flow.priority == Priority::LatencyCritical {
            self.last_critical = Some(now);
            return u64::MAX;
        }
        if self.expects_critical(now) {
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
        if state.queue.is_empty() && state.is_free_for(flow, false, now) {
            let id = state.hold(flow.client, now);
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

    /// As [`Turns::take`], with a turn that ends when it is dropped.
    ///
    /// # Errors
    /// As for [`Turns::take`].
    pub fn hold<E>(
        &self,
        flow: Flow,
        len_bytes: u64,
        may_go_on: impl Fn() -> Result<(), E>,
    ) -> Result<Turn<'_>, E> {
        let grant = self.take(flow, len_bytes, may_go_on)?;
        Ok(Turn { turns: self, grant })
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

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    grant: Grant,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.give_back(self.grant);
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

#[cfg(test)]
mod tests {
    use super::*;
    use dmabuf_engine::ClientId;

    fn flow(client: u32, priority: Priority) -> Flow {
        Flow { client: ClientId(client), priority }
    }

    const BULK: Flow = Flow { client: ClientId(1), priority: Priority::Bulk };

    #[test]
    fn a_turn_that_lasts_too_long_counts_no_more() {
        let (mut state, now) = (State::new(1), Instant::now());
        let stalled = state.hold(BULK.client, now);
        assert!(!state.is_free_for(BULK, false, now + OVERDUE / 2));
        let later = now + OVERDUE;
        assert!(state.is_free_for(BULK, false, later));
        state.hold(BULK.client, later);
        assert!(!state.is_free_for(BULK, false, later), "one beside the stalled one");
        state.end(stalled, later);
        assert!(!state.is_free_for(BULK, false, later), "its end frees nothing");
    }

    #[test]
    fn a_client_has_half_of_the_turns_while_others_wait() {
        let (mut state, now) = (State::new(4), Instant::now());
        state.hold(BULK.client, now);
        assert!(state.is_free_for(BULK, true, now));
        state.hold(BULK.client, now);
        assert!(!state.is_free_for(BULK, true, now));
        assert!(state.is_free_for(flow(2, Priority::Bulk), true, now));
        assert!(state.is_free_for(BULK, false, now), "nobody else waits");
    }

    #[test]
    fn turns_are_few_and_short_while_critical_ones_are_expected() {
        let (mut state, now) = (State::new(4), Instant::now());
        let critical = flow(2, Priority::LatencyCritical);
        assert_eq!(state.longest(BULK, now), u64::MAX);
        assert_eq!(state.longest(critical, now), u64::MAX);
        let soon = now + CRITICAL_EXPECTED / 2;
        for priority in [Priority::Bulk, Priority::Normal] {
            assert_eq!(state.longest(flow(1, priority), soon), SHORT_TURN_BYTES);
            assert_eq!(state.longest(flow(1, priority), now + CRITICAL_EXPECTED), u64::MAX);
        }
        let _held = [(); 2].map(|()| state.hold(BULK.client, soon));
        assert!(!state.is_free_for(BULK, false, soon));
        assert!(state.is_free_for(critical, false, soon));
    }
}
