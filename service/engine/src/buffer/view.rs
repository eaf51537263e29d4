// SPDX-License-Identifier: Apache-2.0
//! A borrowed buffer, of this engine or of a client, as the paths see it.

use std::os::fd::BorrowedFd;

use super::backing::Backing;
use super::retained::RetainedBuffer;

/// What kind of memory a buffer fd stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferKind {
    /// A dma-buf of any exporter.
    DmaBuf,
    /// A memfd that cannot shrink.
    Memfd,
}

/// A borrowed buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BufferView<'a> {
    /// The buffer.
    pub(crate) fd: BorrowedFd<'a>,
    /// Size in bytes.
    pub(crate) size_bytes: u64,
    /// What it is.
    pub(crate) kind: BufferKind,
    /// The memfd behind it, where the engine has made it.
    pub(crate) backing: Option<&'a Backing>,
    /// A mapping of all of it that outlives the request, where one pays.
    pub(crate) retained: Option<&'a RetainedBuffer>,
}

impl<'a> BufferView<'a> {
    /// A buffer of which nothing but the fd is at hand.
    pub(crate) fn new(fd: BorrowedFd<'a>, size_bytes: u64, kind: BufferKind) -> Self {
        Self { fd, size_bytes, kind, backing: None, retained: None }
    }
}
