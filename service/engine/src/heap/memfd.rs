// SPDX-License-Identifier: Apache-2.0
//! Bare memfds, so that the same service runs where there is neither a heap nor udmabuf.

use std::os::fd::OwnedFd;

use dmabuf_uapi::memfd::create_sealed;

use crate::buffer::{Backing, PageKind};

/// A memfd over populated memory, and that memory while it is to be filled.
pub(super) fn create_backed(
    size_bytes: u64,
    pages: PageKind,
) -> dmabuf_uapi::Result<(OwnedFd, Backing)> {
    let backing = Backing::create(size_bytes, pages)?;
    let fd = rustix::io::fcntl_dupfd_cloexec(backing.memfd(), 0)?;
    Ok((fd, backing))
}

/// A memfd whose pages come as they are touched.
pub(super) fn create_unbacked(size_bytes: u64) -> dmabuf_uapi::Result<OwnedFd> {
    create_sealed(c"dmabuf-loader", size_bytes)
}
