// SPDX-License-Identifier: Apache-2.0
//! dma-bufs over sealed memfds.

use std::os::fd::{AsFd, OwnedFd};

use dmabuf_uapi::memfd::create_sealed;
use dmabuf_uapi::udmabuf::{self, MemfdRange, SIZE_LIMIT_MIB_PARAMETER, UDMABUF_NODE};
use dmabuf_uapi::Errno;

use crate::buffer::{Backing, PageKind};

/// The driver's default of `size_limit_mb`, for when the parameter cannot be read.
const DEFAULT_SIZE_LIMIT_MIB: u64 = 64;

/// Opens the driver's node, if this process may.
pub(super) fn discover() -> Option<OwnedFd> {
    match udmabuf::open_device() {
        Ok(node) => Some(node),
        Err(Errno::NOENT) => None,
        Err(errno) => {
            log::info!("{UDMABUF_NODE} is not usable: {errno}");
            None
        }
    }
}

/// The largest buffer that the driver makes, in bytes.
pub(super) fn size_limit_bytes() -> u64 {
    let mib = std::fs::read_to_string(SIZE_LIMIT_MIB_PARAMETER)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(DEFAULT_SIZE_LIMIT_MIB);
    mib.saturating_mul(1 << 20)
}

/// A dma-buf over populated memory, and that memory while it is to be filled.
pub(super) fn create_backed(
    node: &OwnedFd,
    size_bytes: u64,
    pages: PageKind,
) -> dmabuf_uapi::Result<(OwnedFd, Backing)> {
    let backing = Backing::create(size_bytes, pages)?;
    let range = MemfdRange { memfd: backing.memfd(), offset_bytes: 0, size_bytes };
    Ok((udmabuf::create(node, range)?, backing))
}

/// A dma-buf over base pages that the engine does not fill through the memfd: the driver allocates
/// them more cheaply than populating a mapping would.
pub(super) fn create_unbacked(node: &OwnedFd, size_bytes: u64) -> dmabuf_uapi::Result<OwnedFd> {
    let memfd = create_sealed(c"dmabuf-loader", size_bytes)?;
    udmabuf::create(node, MemfdRange { memfd: memfd.as_fd(), offset_bytes: 0, size_bytes })
}
