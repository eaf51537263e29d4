// SPDX-License-Identifier: Apache-2.0
//! A buffer that is kept here while a client has it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dmabuf_uapi::counted_buffer::CountedBuffer;

use super::BufferName;

/// An fd of a dma-buf besides the client's.
#[derive(Debug)]
pub(crate) struct Kept {
    counted: CountedBuffer,
    /// What it was named last.
    name: Option<BufferName>,
}

impl Kept {
    /// `None` where there is no fd left for it.
    pub(crate) fn new(buffer: OwnedFd) -> Option<Self> {
        Some(Self { counted: CountedBuffer::new(buffer).ok()?, name: None })
    }

    /// Whether nobody else holds the buffer any more.
    pub(crate) fn is_released(&self) -> bool {
        self.counted.references() == Ok(1)
    }

    /// Names the buffer, unless it was named so last.
    pub(crate) fn rename(&mut self, name: &BufferName) {
        if self.name.as_ref() != Some(name) {
            name.give_to(&self.counted);
            self.name = Some(*name);
        }
    }

    /// Has the next name given in any case.
    pub(crate) fn forget_name(&mut self) {
        self.name = None;
    }
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counted.as_fd()
    }
}
