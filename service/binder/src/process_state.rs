// SPDX-License-Identifier: Apache-2.0
//! The thread pool that serves kernel binder.

use std::sync::atomic::{AtomicU32, Ordering};

use rsbinder::StatusCode;

/// libbinder's own default.
static MAX_THREADS: AtomicU32 = AtomicU32::new(15);

/// The process's connection to the binder driver.
pub struct ProcessState;

impl ProcessState {
    /// Sets how many threads the driver may ask for, besides the main one. Takes effect before
    /// [`ProcessState::start_thread_pool`] only.
    pub fn set_thread_pool_max_thread_count(count: u32) {
        MAX_THREADS.store(count, Ordering::Relaxed);
    }

    /// Starts serving incoming calls.
    ///
    /// Without a binder driver it logs an error; the calls that need the driver then fail.
    pub fn start_thread_pool() {
        match initialise() {
            Ok(()) => rsbinder::ProcessState::start_thread_pool(),
            Err(status) => log::error!("no thread pool: {status}"),
        }
    }

    /// Makes the calling thread one of the pool. Returns only on an error.
    pub fn join_thread_pool() {
        let joined = initialise().and_then(|()| rsbinder::ProcessState::join_thread_pool());
        if let Err(status) = joined {
            log::error!("left the thread pool: {status}");
        }
    }
}

/// Opens the driver once. rsbinder panics where it is used without.
pub(crate) fn initialise() -> std::result::Result<(), StatusCode> {
    if rsbinder::ProcessState::is_initialized() {
        return Ok(());
    }
    let driver = ["/dev/binderfs/binder", "/dev/binder"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .ok_or(StatusCode::NameNotFound)?;
    rsbinder::ProcessState::init(driver, MAX_THREADS.load(Ordering::Relaxed)).map_err(|error| {
        log::error!("{driver}: {error}");
        StatusCode::PermissionDenied
    })?;
    Ok(())
}
