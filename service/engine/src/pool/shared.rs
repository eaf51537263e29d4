// SPDX-License-Identifier: Apache-2.0
//! What requests and the pool's thread share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::config::PoolConfig;
use super::state::State;
use crate::admission::Admission;
use crate::heap::Heaps;

/// What requests and the pool's thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: PoolConfig,
    pub(super) heaps: Arc<Heaps>,
    pub(super) admission: Arc<Admission>,
    state: Mutex<State>,
    /// There may be something to do.
    pub(super) wake: Condvar,
}

impl Shared {
    pub(super) fn new(config: PoolConfig, heaps: Arc<Heaps>, admission: Arc<Admission>) -> Self {
        Self { config, heaps, admission, state: Mutex::default(), wake: Condvar::new() }
    }

    /// Frees what the pool has, and lets it keep nothing from now on.
    pub(super) fn turn_off(&self) {
        let mut state = self.state();
        state.stopping = true;
        let dropped = (state.shrink(), std::mem::take(&mut state.in_use));
        drop(state);
        drop(dropped);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
