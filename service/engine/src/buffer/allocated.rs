// SPDX-License-Identifier: Apache-2.0
//! A buffer between its allocation and its export to the client.

use std::os::fd::AsFd;

use super::backing::{Backing, PageKind};
use super::exported::Buffer;
use super::retained::RetainedBuffer;
use super::view::{BufferKind, BufferView};

/// A new buffer, and the memory behind it where the engine can fill that directly.
#[derive(Debug)]
pub(crate) struct Allocated {
    pub(crate) buffer: Buffer,
    pub(crate) backing: Option<Backing>,
    /// The pages, where the engine chose them.
    pub(crate) pages: Option<PageKind>,
    /// Whether its bytes are zero; else they are those of an earlier load.
    pub(crate) is_zero: bool,
    /// The pool's own fd, where the buffer comes from the pool.
    pub(crate) retained: Option<RetainedBuffer>,
}

impl Allocated {
    /// The buffer as the paths see it.
    pub(crate) fn view(&self) -> BufferView<'_> {
        let kind =
            if self.buffer.device_shareable { BufferKind::DmaBuf } else { BufferKind::Memfd };
        BufferView {
            backing: self.backing.as_ref(),
            retained: self.retained.as_ref().filter(|retained| retained.stays_mapped()),
            ..BufferView::new(self.buffer.fd.as_fd(), self.buffer.size_bytes, kind)
        }
    }
}
