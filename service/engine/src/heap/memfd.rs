// SPDX-License-Identifier: Apache-2.0
//! Bare memfds, so that the same service runs where there is neither a heap nor udmabuf.

use super::{Heap, HeapKind};

pub(super) fn heap() -> Heap {
    Heap {
        name: "memfd".into(),
        kind: HeapKind::Memfd,
        max_buffer_bytes: i64::MAX as u64,
        node: None,
    }
}
