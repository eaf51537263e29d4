// SPDX-License-Identifier: Apache-2.0
//! A buffer of the pool: free, or in use by a client.

use std::os::fd::AsFd;
use std::time::Instant;

use super::alloc_request::Key;
use crate::buffer::{
    is_unused_by_devices, Allocated, Backing, Buffer, BufferKind, BufferName, BufferView,
    RetainedBuffer,
};
use crate::context::ClientId;

/// What is in a free buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Zero,
    Of(ClientId),
}

/// A buffer that only the pool holds.
#[derive(Debug)]
pub(super) struct Free {
    pub(super) key: Key,
    pub(super) buffer: RetainedBuffer,
    pub(super) backing: Option<Backing>,
    pub(super) content: Content,
    pub(super) since: Instant,
}

impl Free {
    /// The buffer as the paths see it.
    pub(super) fn view(&self) -> BufferView<'_> {
        let view = BufferView::new(self.buffer.as_fd(), self.key.size_bytes, BufferKind::DmaBuf);
        BufferView { backing: self.backing.as_ref(), ..view }
    }

    /// The buffer under this name with an fd for a client; `None` where no fd is left.
    pub(super) fn into_allocated(self, name: &BufferName) -> Option<Allocated> {
        let fd = self.buffer.as_fd().try_clone_to_owned().ok()?;
        // Whoever had it may have named it otherwise.
        name.give_to(&fd);
        let Key { heap, pages, size_bytes, .. } = self.key;
        Some(Allocated {
            buffer: Buffer { fd, size_bytes, heap: heap.to_string(), device_shareable: true },
            backing: self.backing,
            pages,
            is_zero: self.content == Content::Zero,
            retained: Some(self.buffer),
        })
    }
}

/// A buffer that a client has, or had.
#[derive(Debug)]
pub(super) struct InUse {
    pub(super) buffer: RetainedBuffer,
    pub(super) backing: Option<Backing>,
    pub(super) key: Key,
    pub(super) client: ClientId,
}

impl InUse {
    /// Whether nobody but the pool holds it any more.
    pub(super) fn is_released(&self) -> bool {
        self.buffer.is_released()
    }

    /// The buffer, released by everybody else, with what its client has left in it; `None`, and
    /// the buffer is dropped, where a device that its client has left behind still uses it. The
    /// pool waits for no device.
    pub(super) fn reclaimed(self, since: Instant) -> Option<Free> {
        is_unused_by_devices(self.buffer.as_fd()).then(|| self.into_free(since))
    }

    /// The buffer with what its client has left in it.
    pub(super) fn into_free(self, since: Instant) -> Free {
        let Self { buffer, backing, key, client } = self;
        Free { key, buffer, backing, content: Content::Of(client), since }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::event::{eventfd, EventfdFlags};

    use super::*;

    fn in_use(buffer: OwnedFd) -> InUse {
        let buffer = RetainedBuffer::new(buffer, false).unwrap();
        let key =
            Key { heap: "system".into(), pages: None, size_bytes: 4096, pages_can_be_held: false };
        InUse { buffer, backing: None, key, client: ClientId(1) }
    }

    /// An eventfd that takes nothing more stands for a buffer with a fence that has not signalled.
    #[test]
    fn a_buffer_that_a_device_uses_is_dropped() {
        let fenced = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let idle = fenced.try_clone().unwrap();
        assert!(in_use(idle).reclaimed(Instant::now()).is_some());
        rustix::io::write(&fenced, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        assert!(in_use(fenced).reclaimed(Instant::now()).is_none());
    }
}
