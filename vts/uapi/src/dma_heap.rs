// SPDX-License-Identifier: Apache-2.0
//! Allocation of DMA-BUF heap buffers whose fd is read-only.

use std::os::fd::{AsFd, OwnedFd};

use dmabuf_uapi::dma_heap::allocate_in_mode;
use rustix::fs::OFlags;
use rustix::io::Result;

/// As [`dmabuf_uapi::dma_heap::allocate`], with an fd that is open for reading only: its holder
/// cannot change the buffer.
///
/// # Errors
/// As for [`dmabuf_uapi::dma_heap::allocate`].
pub fn allocate_read_only(heap: impl AsFd, len_bytes: u64) -> Result<OwnedFd> {
    allocate_in_mode(heap, len_bytes, OFlags::RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_file_must_be_a_heap() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(allocate_read_only(&null, 4096).unwrap_err(), Errno::NOTTY);
    }
}
