// SPDX-License-Identifier: Apache-2.0
//! What every call of a client goes through: a panic becomes an error, and the log stays bounded.
//!
//! AOSP builds Rust for devices with `panic=abort`, where nothing can catch a panic: the crates of
//! the service therefore deny the calls that panic. Where panics unwind, one client's call must not
//! end the calls of the others.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use binder::ThreadState;
use dmabuf_engine::ClientId;

use crate::clients::Clients;
use crate::error::{to_binder, Method, Result, ServiceError};
use crate::log_limiter::LogLimiter;

/// Runs the calls of clients.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    log: LogLimiter,
    panics: AtomicU64,
    clients: Arc<Clients>,
}

/// What `dump()` shows of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallStats {
    /// Calls that panicked.
    pub panics: u64,
    /// Lines about refused calls that were left out of the log.
    pub omitted_lines: u64,
}

impl Calls {
    /// Runs a call and makes its result that of the method; logs an error.
    ///
    /// # Errors
    /// The service-specific exception for the error.
    pub(crate) fn run<T>(
        &self,
        method: Method,
        call: impl FnOnce() -> Result<T>,
    ) -> binder::Result<T> {
        to_binder(method, self.catch(call), |code, message| {
            let (uid, method, code) = (ThreadState::get_calling_uid(), method.name(), code.0);
            self.clients.failed(ClientId(uid), method, code, message);
            let line = format_args!("{method} for uid {uid} failed with {code}: {message}");
            self.log.log(log::Level::Warn, uid, line);
        })
    }

    /// What the calls of each client have done.
    pub(crate) fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// Runs what may panic.
    ///
    /// # Errors
    /// Those of `call`, and [`ServiceError::Panicked`].
    pub(crate) fn catch<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        // The engine's locks stay usable after a panic, and a request shares nothing else.
        catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
            self.panics.fetch_add(1, Ordering::Relaxed);
            Err(ServiceError::Panicked)
        })
    }

    pub(crate) fn stats(&self) -> CallStats {
        CallStats { panics: self.panics.load(Ordering::Relaxed), omitted_lines: self.log.omitted() }
    }
}

#[cfg(test)]
mod tests {
    use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::LoaderError::LoaderError;

    use super::*;

    #[test]
    fn a_panic_fails_its_own_call_only() {
        let calls = Calls::default();
        let status = calls.run::<()>(Method::Load, || panic!("a defect")).unwrap_err();
        assert_eq!(status.service_specific_error(), LoaderError::INTERNAL.0);
        assert!(!status.to_string().contains("a defect"), "{status}");
        assert_eq!(calls.run(Method::Load, || Ok(7)).unwrap(), 7);
        assert_eq!(calls.stats(), CallStats { panics: 1, omitted_lines: 0 });
    }
}
