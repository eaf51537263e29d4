// SPDX-License-Identifier: Apache-2.0
//! Which request of which client runs when, and how much each client may hold. It knows no binder
//! and does no I/O.
//!
//! - [`ledger`]: what clients hold against their quotas; [`quota`] shares it between threads and
//!   gives each amount back exactly once.
//! - [`fair_queue`]: the order of what waits: by priority, then by client, without starving any.
//! - [`turns`]: lets a bounded number of batches move at a time, in that order.
//! - [`task`]: a request from its start to its result, with cancelling and waiting.
//!
//! # Threading and lifetime
//! Everything is shared by reference between threads and starts none. Locks are held for a few
//! operations on maps, never over I/O or a call to other code.

#![deny(missing_docs)]

pub mod fair_queue;
pub mod ledger;
pub mod quota;
mod sync;
pub mod task;
pub mod turns;

#[cfg(test)]
mod model_tests;
