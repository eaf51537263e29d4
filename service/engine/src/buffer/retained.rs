// SPDX-License-Identifier: Apache-2.0
//! The engine's own fd of a buffer that a client has or had.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use dmabuf_uapi::counted_buffer::CountedBuffer;
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::Errno;

/// An fd of a dma-buf besides the client's, so that the buffer can be reused once it is released.
#[derive(Debug)]
pub(crate) struct RetainedBuffer {
    counted: CountedBuffer,
    /// Whether it stays mapped once a path has needed that.
    stays_mapped: bool,
    /// All of it, which counts as a reference, too.
    mapping: OnceLock<Mapping>,
}

impl RetainedBuffer {
    /// `None` where the process has no fd left.
    pub(crate) fn new(buffer: OwnedFd, stays_mapped: bool) -> Option<Self> {
        let counted = CountedBuffer::new(buffer).ok()?;
        Some(Self { counted, stays_mapped, mapping: OnceLock::new() })
    }

    /// Whether nobody else holds the buffer any more.
    pub(crate) fn is_released(&self) -> bool {
        self.counted.references() == Ok(1 + u64::from(self.mapping.get().is_some()))
    }

    /// Whether [`RetainedBuffer::mapping`] pays: mapping a small buffer anew costs more than
    /// filling it.
    pub(crate) fn stays_mapped(&self) -> bool {
        self.stays_mapped
    }

    /// A mapping of all of the buffer, of this size, that stays.
    pub(crate) fn mapping(&self, size_bytes: u64) -> dmabuf_uapi::Result<&Mapping> {
        if let Some(mapping) = self.mapping.get() {
            return Ok(mapping);
        }
        let len_bytes = usize::try_from(size_bytes).map_err(|_| Errno::NOMEM)?;
        let made = Mapping::shared(&self.counted, len_bytes, MappingAccess::ReadWrite)?;
        Ok(self.mapping.get_or_init(|| made))
    }
}

impl AsFd for RetainedBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counted.as_fd()
    }
}
