// SPDX-License-Identifier: Apache-2.0
//! Bare memfds, so that the same service runs where there is neither a heap nor udmabuf.

use std::os::fd::OwnedFd;

use dmabuf_uapi::memfd::create_sealed;

use super::{Heap, HeapKind};

pub(super) fn heap() -> Heap {
    Heap {
        name: "memfd".to_owned(),
        kind: HeapKind::Memfd,
        max_buffer_bytes: i64::MAX as u64,
        node: None,
    }
}

pub(super) fn create(size_bytes: u64) -> dmabuf_uapi::Result<OwnedFd> {
    create_sealed(c"dmabuf-loader", size_bytes)
}
