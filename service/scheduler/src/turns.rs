// SPDX-License-Identifier: Apache-2.0
//! A bounded number of batches moves at a time; who waits gets the next turn in the order of a
//! [`FairQueue`].

use std::time::Duration;

use crate::fair_queue::{FairQueue, Flow};
use crate::sync::{lock, Arc, Condvar, Mutex};

/// How often who waits asks whether to go on waiting.
const CHECK_EVERY: Duration = Duration::from_millis(10);

/// Somebody who waits for a turn. Under the lock of [`Turns`].
#[derive(Debug, Default)]
struct Waiter {
    granted: Mutex<bool>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    queue: FairQueue<Arc<Waiter>>,
}

/// The turns that there are. Clones share them.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Mutex<State>>);

impl Turns {
    /// So many turns at a time: at least one.
    pub fn new(at_a_time: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: at_a_time.max(1), queue: FairQueue::default() })))
    }

    /// Waits for a turn to move `cost` bytes. It ends when it is dropped.
    ///
    /// # Errors
    /// That of `may_go_on`, which is asked every 10 ms of waiting.
    pub fn take<E>(
        &self,
        flow: Flow,
        cost: u64,
        may_go_on: impl Fn() -> Result<(), E>,
    ) -> Result<Turn, E> {
        let mut state = lock(&self.0);
        if state.free > 0 {
            state.free -= 1;
            return Ok(Turn(self.clone()));
        }
        let waiter = Arc::new(Waiter::default());
        let ticket = state.queue.push(flow, cost, Arc::clone(&waiter));
        drop(state);
        loop {
            let granted = lock(&waiter.granted);
            let granted = if *granted {
                true
            } else {
                let waited = waiter.wake.wait_timeout(granted, CHECK_EVERY);
                *waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
            };
            if granted {
                return Ok(Turn(self.clone()));
            }
            if let Err(error) = may_go_on() {
                let waits_still = lock(&self.0).queue.remove(flow, ticket).is_some();
                if !waits_still {
                    // A turn was granted meanwhile: it goes to the next.
                    drop(Turn(self.clone()));
                }
                return Err(error);
            }
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        lock(&self.0).queue.len()
    }
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn(Turns);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = lock(&self.0 .0);
        match state.queue.pop() {
            Some(waiter) => {
                *lock(&waiter.granted) = true;
                waiter.wake.notify_one();
            }
            None => state.free += 1,
        }
    }
}
