// SPDX-License-Identifier: Apache-2.0
//! An fd that a client passed, from its arrival to its close.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::known::KnownFileSystems;

/// A client's fd. Unless a check has shown that its `close(2)` waits for nobody, another thread
/// closes it.
#[derive(Debug)]
pub(crate) struct ClientFd {
    /// There until it is dropped.
    fd: Option<OwnedFd>,
    known: Arc<KnownFileSystems>,
    closes_at_once: bool,
}

impl ClientFd {
    /// Takes over an fd that nothing is known about yet.
    pub(crate) fn new(fd: OwnedFd, known: &Arc<KnownFileSystems>) -> Self {
        Self { fd: Some(fd), known: Arc::clone(known), closes_at_once: false }
    }

    /// A check has shown that closing it waits for nobody.
    pub(crate) fn closes_at_once(&mut self) {
        self.closes_at_once = true;
    }

    pub(crate) fn known(&self) -> &KnownFileSystems {
        &self.known
    }
}

impl AsFd for ClientFd {
    // Nobody can call this on what is being dropped.
    #[allow(clippy::expect_used)]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("the fd is taken only when dropped").as_fd()
    }
}

impl Drop for ClientFd {
    fn drop(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        if !self.closes_at_once {
            self.known.close_unchecked(fd);
        }
    }
}

#[cfg(test)]
impl From<OwnedFd> for ClientFd {
    /// An fd of an engine that takes files of any file system.
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd, &Arc::new(KnownFileSystems::new(super::FileSystems::Any)))
    }
}
