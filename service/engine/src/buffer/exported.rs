// SPDX-License-Identifier: Apache-2.0
//! The buffer that a client gets.

use std::os::fd::OwnedFd;

/// A buffer that this engine allocated. Its bytes are loaded data or zero.
#[derive(Debug)]
pub struct Buffer {
    /// The dma-buf, or the memfd where [`Buffer::device_shareable`] is false.
    pub fd: OwnedFd,
    /// Size in bytes, whole pages.
    pub size_bytes: u64,
    /// The name of the heap it came from.
    pub heap: String,
    /// Whether it is a dma-buf.
    pub device_shareable: bool,
}
