// SPDX-License-Identifier: Apache-2.0
//! The locks of this crate: std's, or for the model tests those of loom, which try every order of
//! the threads.

#[cfg(not(test))]
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};

#[cfg(test)]
pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Locks a mutex, also after a thread has panicked with it: every change of what this crate locks
/// is complete before anything can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
