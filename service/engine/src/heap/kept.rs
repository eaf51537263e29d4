// SPDX-License-Identifier: Apache-2.0
//! A buffer that is kept here while a client has it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use dmabuf_uapi::counted_buffer::CountedBuffer;
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::Errno;

use super::BufferName;

/// An fd of a dma-buf besides the client's.
#[derive(Debug)]
pub(crate) struct Kept {
    counted: CountedBuffer,
    /// What it was named last.
    name: Option<BufferName>,
    /// Whether it stays mapped once a path has needed that.
    stays_mapped: bool,
    /// All of it, which counts as a reference, too.
    mapping: OnceLock<Mapping>,
}

impl Kept {
    /// `None` where there is no fd left for it.
    pub(crate) fn new(buffer: OwnedFd, stays_mapped: bool) -> Option<Self> {
        let counted = CountedBuffer::new(buffer).ok()?;
        Some(Self { counted, name: None, stays_mapped, mapping: OnceLock::new() })
    }

    /// Whether nobody else holds the buffer any more.
    pub(crate) fn is_released(&self) -> bool {
        self.counted.references() == Ok(1 + u64::from(self.mapping.get().is_some()))
    }

    /// Whether [`Kept::mapping`] is of use: for a small buffer a mapping of its own costs more than what is done with it.
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
