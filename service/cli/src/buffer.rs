// SPDX-License-Identifier: Apache-2.0
//! The client's side of a buffer: its own look at the bytes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use dmabuf_engine::buffer::{BufferKind, BufferView};
use dmabuf_engine::digest::{sha256_of_ranges, Sha256};
use dmabuf_loader_client::aidl::DmaBuf::DmaBuf;

/// The fd of a buffer that the service returned.
pub fn fd(buffer: &DmaBuf) -> anyhow::Result<BorrowedFd<'_>> {
    let fd: &OwnedFd = buffer.fd.as_ref().context("the service returned no buffer")?.as_ref();
    Ok(fd.as_fd())
}

/// SHA-256 of the first bytes of a buffer, read through this process's own mapping.
pub fn sha256(buffer: &DmaBuf, len_bytes: u64) -> anyhow::Result<Sha256> {
    let kind = if buffer.deviceShareable { BufferKind::DmaBuf } else { BufferKind::Memfd };
    let size_bytes = u64::try_from(buffer.sizeBytes).context("the buffer's size")?;
    let view = BufferView::new(fd(buffer)?, size_bytes, kind);
    Ok(sha256_of_ranges(&view, &[(0, len_bytes)])?)
}
