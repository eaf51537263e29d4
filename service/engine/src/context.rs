// SPDX-License-Identifier: Apache-2.0
//! On whose behalf a request runs, how urgent it is, and what may end it early.
//!
//! Every loop of the engine that moves bytes asks between two calls whether the request may go on,
//! and waits for its turn where somebody orders the batches of several requests.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use crate::error::{EngineError, Result};

/// Whose memory and bytes a request uses: a uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub u32);

/// How urgent a request is. The engine runs what it is given; whoever queues requests orders them
/// by this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// May wait for others.
    Bulk,
    /// The usual one.
    #[default]
    Normal,
    /// Somebody waits for it.
    LatencyCritical,
}

/// Cancels requests from any thread. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Ends every request that has this token, at its next call to the kernel at the latest.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have been moved.
    pub moved_bytes: u64,
    /// Bytes to move, unless a file ends before.
    pub total_bytes: u64,
}

/// Is told of a request's progress.
///
/// The engine calls it from the threads that move bytes, one call at a time, with a growing
/// `moved_bytes`. What takes long in it slows the request down.
pub trait ProgressSink: Send + Sync {
    /// The request has come so far.
    fn on_progress(&self, progress: Progress);
}

/// Orders the batches of requests that run at a time: each is what one call to the kernel moves.
///
/// The engine asks from the thread that is going to make the call.
pub trait BatchOrder: Send + Sync {
    /// Waits until the request may move a batch of up to `len_bytes`. The caller makes one call to
    /// [`BatchOrder::end`] for it.
    ///
    /// # Errors
    /// That of [`Context::check`], which is asked while the request waits.
    fn begin(&self, context: &Context, len_bytes: u64) -> Result<Grant>;

    /// A batch has been moved, or has failed.
    fn end(&self, grant: Grant);
}

/// The permission to move one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Names it to whoever gave it.
    pub id: u64,
    /// How long the batch may be, in bytes: as asked for, or a multiple of 512 KiB that is less.
    pub len_bytes: u64,
}

/// A batch that may be moved now, until this is dropped.
pub(crate) struct Batch<'a> {
    /// How long it may be, in bytes.
    pub(crate) len_bytes: u64,
    granted: Option<(&'a dyn BatchOrder, Grant)>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some((order, grant)) = self.granted {
            order.end(grant);
        }
    }
}

/// What goes with a request besides its arguments. Clones share the token, the sink and the order.
#[derive(Clone)]
pub struct Context {
    /// Who asks.
    pub client: ClientId,
    /// How urgent it is.
    pub priority: Priority,
    /// When the request fails if it has not ended. `None` for never.
    pub deadline: Option<Instant>,
    /// Ends the request.
    pub cancel: CancelToken,
    /// Who is told of its progress.
    pub progress: Option<Arc<dyn ProgressSink>>,
    /// Orders its batches among those of other requests. `None`: each is moved at once.
    pub order: Option<Arc<dyn BatchOrder>>,
}

impl Context {
    /// A request of normal priority without a deadline, of which nobody is told anything.
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            priority: Priority::default(),
            deadline: None,
            cancel: CancelToken::default(),
            progress: None,
            order: None,
        }
    }

    /// Whether the request may go on.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`], [`EngineError::DeadlineExceeded`].
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(EngineError::DeadlineExceeded),
            _ => Ok(()),
        }
    }

    /// Waits until the request may move a batch of up to `len_bytes`.
    ///
    /// # Errors
    /// As for [`Context::check`].
    pub(crate) fn begin_batch(&self, len_bytes: u64) -> Result<Batch<'_>> {
        self.check()?;
        let Some(order) = self.order.as_deref() else {
            return Ok(Batch { len_bytes, granted: None });
        };
        let grant = order.begin(self, len_bytes)?;
        Ok(Batch { len_bytes: grant.len_bytes, granted: Some((order, grant)) })
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Context")
            .field("client", &self.client)
            .field("priority", &self.priority)
            .field("deadline", &self.deadline)
            .field("cancel", &self.cancel)
            .field("progress", &self.progress.is_some())
            .field("order", &self.order.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cancelled_request_may_not_go_on() {
        let context = Context::new(ClientId(1));
        let other = context.clone();
        assert_eq!(context.check(), Ok(()));
        other.cancel.cancel();
        assert_eq!(context.check(), Err(EngineError::Cancelled));
    }

    #[test]
    fn a_request_ends_at_its_deadline() {
        let now = Instant::now();
        let at = |deadline| Context { deadline: Some(deadline), ..Context::new(ClientId(1)) };
        assert_eq!(at(now).check(), Err(EngineError::DeadlineExceeded));
        assert_eq!(at(now + Duration::from_secs(60)).check(), Ok(()));
    }

    #[test]
    fn the_urgent_sorts_above_the_bulk() {
        assert!(Priority::LatencyCritical > Priority::default());
        assert!(Priority::default() > Priority::Bulk);
    }
}
