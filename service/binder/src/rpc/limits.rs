// SPDX-License-Identifier: Apache-2.0
//! What the clients of a socket may use of the server, and the permits that enforce it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What the clients of a socket may use of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time. Each has a thread, and a second one until its handshake is complete.
    pub connections: usize,
    /// The largest message from a client.
    pub message_bytes: usize,
    /// How long a client may take for the handshake of its connection, and how long a new
    /// connection waits for another one to end if there are too many.
    pub handshake: Duration,
    /// How long a connection may send nothing between two calls. The server closes it then.
    pub idle: Duration,
}

impl Default for Limits {
    /// Messages of up to 1 MiB, as the binder driver has them.
    fn default() -> Self {
        Self {
            connections: 64,
            message_bytes: 1 << 20,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(300),
        }
    }
}

/// The connections that may still be served.
#[derive(Debug)]
pub(super) struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

/// One connection that may be served, until this is dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<Permits>);

impl Permits {
    pub(super) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(connections), returned: Condvar::new() })
    }

    /// A permit; `None` if none is returned within `patience`.
    pub(super) fn take(self: &Arc<Self>, patience: Duration) -> Option<Permit> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut free, _) = self
            .returned
            .wait_timeout_while(free, patience, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_permits_are_out() {
        let permits = Permits::new(2);
        let first = permits.take(Duration::ZERO).unwrap();
        let _second = permits.take(Duration::ZERO).unwrap();
        assert!(permits.take(Duration::from_millis(10)).is_none());
        drop(first);
        assert!(permits.take(Duration::ZERO).is_some());
    }
}
