// SPDX-License-Identifier: Apache-2.0
//! The process's connection to the binder driver, and the threads that serve it.

use std::sync::atomic::{AtomicU32, Ordering};

use rsbinder::StatusCode;

/// The default of libbinder.
static MAX_THREADS: AtomicU32 = AtomicU32::new(15);

/// The process's connection to the binder driver.
pub struct ProcessState;

impl ProcessState {
    /// Sets how many threads the driver may start besides the main one. Has no effect once the
    /// driver is open.
    pub fn set_thread_pool_max_thread_count(count: u32) {
        MAX_THREADS.store(count, Ordering::Relaxed);
    }

    /// Starts serving incoming calls.
    ///
    /// Logs an error if the machine has no binder driver; the calls that need the driver then fail.
    pub fn start_thread_pool() {
        match initialise() {
            Ok(()) => rsbinder::ProcessState::start_thread_pool(),
            Err(status) => log::error!("cannot start the thread pool: {status}"),
        }
    }

    /// Adds the calling thread to the pool. Returns only on an error.
    pub fn join_thread_pool() {
        let joined = initialise().and_then(|()| rsbinder::ProcessState::join_thread_pool());
        if let Err(status) = joined {
            log::error!("left the thread pool: {status}");
        }
    }
}

/// Opens the driver once. Without this check rsbinder panics when the driver is missing.
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
