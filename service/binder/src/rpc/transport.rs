// SPDX-License-Identifier: Apache-2.0
//! A connection to a client, whose messages have a largest size.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rsbinder::rpc::transport::UnixTransport;
use rsbinder::rpc::{PeerIdentity, RpcError, RpcResult, RpcTransport};

use super::limits::Permit;

/// A connection, and the permit to serve it.
pub(super) struct LimitedTransport {
    inner: UnixTransport,
    max_message_bytes: usize,
    _permit: Permit,
}

impl LimitedTransport {
    pub(super) fn new(inner: UnixTransport, max_message_bytes: usize, permit: Permit) -> Self {
        Self { inner, max_message_bytes, _permit: permit }
    }

    /// A session reads a message into a buffer of the size that the client has announced. Nothing
    /// has touched the pages of the buffer yet, so that a refused size has cost no memory.
    fn check(&self, buffer: &[u8]) -> RpcResult<()> {
        if buffer.len() > self.max_message_bytes {
            return Err(RpcError::FrameTooLarge {
                declared: buffer.len(),
                max: self.max_message_bytes,
            });
        }
        Ok(())
    }
}

impl RpcTransport for LimitedTransport {
    fn send_frame(&self, buffer: &[u8]) -> RpcResult<()> {
        self.inner.send_frame(buffer)
    }

    fn recv_frame(&self) -> RpcResult<Vec<u8>> {
        Err(RpcError::Protocol("this server receives no length-prefixed frames"))
    }

    fn peer_identity(&self) -> PeerIdentity {
        self.inner.peer_identity()
    }

    fn describe(&self) -> &str {
        self.inner.describe()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> RpcResult<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> RpcResult<()> {
        self.inner.set_write_timeout(timeout)
    }

    fn set_liveness(&self, timeout: Option<Duration>) -> RpcResult<()> {
        self.inner.set_liveness(timeout)
    }

    fn peer_closed(&self) -> Option<bool> {
        self.inner.peer_closed()
    }

    fn shutdown_handle(&self) -> Option<Box<dyn FnOnce() + Send>> {
        self.inner.shutdown_handle()
    }

    fn shutdown(&self) -> RpcResult<()> {
        self.inner.shutdown()
    }

    fn supports_fd_passing(&self) -> bool {
        self.inner.supports_fd_passing()
    }

    fn send_frame_with_fds(&self, buffer: &[u8], fds: &[BorrowedFd<'_>]) -> RpcResult<()> {
        self.inner.send_frame_with_fds(buffer, fds)
    }

    fn recv_frame_with_fds(&self) -> RpcResult<(Vec<u8>, Vec<OwnedFd>)> {
        self.recv_frame().map(|frame| (frame, Vec::new()))
    }

    fn send_raw(&self, buffer: &[u8]) -> RpcResult<()> {
        self.inner.send_raw(buffer)
    }

    fn recv_raw(&self, buffer: &mut [u8]) -> RpcResult<usize> {
        self.check(buffer)?;
        self.inner.recv_raw(buffer)
    }

    fn send_raw_with_fds(&self, buffer: &[u8], fds: &[BorrowedFd<'_>]) -> RpcResult<()> {
        self.inner.send_raw_with_fds(buffer, fds)
    }

    fn recv_raw_with_fds(&self, buffer: &mut [u8]) -> RpcResult<(usize, Vec<OwnedFd>)> {
        self.check(buffer)?;
        self.inner.recv_raw_with_fds(buffer)
    }

    fn send_raw_draining(
        &self,
        buffer: &[u8],
        fds: &[BorrowedFd<'_>],
        drain: &mut dyn FnMut() -> RpcResult<()>,
    ) -> RpcResult<()> {
        self.inner.send_raw_draining(buffer, fds, drain)
    }
}
