// SPDX-License-Identifier: Apache-2.0
//! DMA-BUF heaps: the character devices below `/dev/dma_heap`.
//!
//! Source: `include/uapi/linux/dma-heap.h` of Linux 6.12.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{open, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::ioctl::{ioctl, opcode, Updater};

/// The directory that holds one character device per heap.
pub const DMA_HEAP_DIR: &str = "/dev/dma_heap";

/// `struct dma_heap_allocation_data`.
#[repr(C)]
struct DmaHeapAllocationData {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

const DMA_HEAP_IOCTL_ALLOC: rustix::ioctl::Opcode =
    opcode::read_write::<DmaHeapAllocationData>(b'H', 0x0);

/// Opens a heap's device node read-only, which is all that allocation needs.
///
/// # Errors
/// Those of `open(2)`: `NOENT` where the heap does not exist, `ACCESS` where permissions or SELinux
/// refuse it.
pub fn open_heap(node: &Path) -> Result<OwnedFd> {
    open(node, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Allocates a zeroed dma-buf of `len_bytes`, rounded up by the kernel to whole pages.
///
/// The new fd belongs to the caller and is open for reading and writing.
///
/// # Errors
/// - `INVAL`: `len_bytes` is 0 or overflows when rounded to pages.
/// - `NOMEM`: the heap has not that much memory.
/// - `INTR`: a fatal signal arrived during the allocation.
pub fn allocate(heap: impl AsFd, len_bytes: u64) -> Result<OwnedFd> {
    allocate_in_mode(heap, len_bytes, OFlags::RDWR)
}

/// As [`allocate`], with an fd that is open in another access mode.
///
/// # Errors
/// As for [`allocate`], and `INVAL` where `mode` is more than an access mode.
pub fn allocate_in_mode(heap: impl AsFd, len_bytes: u64, mode: OFlags) -> Result<OwnedFd> {
    let mut data = DmaHeapAllocationData {
        len: len_bytes,
        fd: 0,
        fd_flags: (mode | OFlags::CLOEXEC).bits(),
        heap_flags: 0,
    };
    // SAFETY: the opcode is DMA_HEAP_IOCTL_ALLOC and `data` has the layout the kernel defines for
    // it (repr(C), 24 bytes, checked by a test); on a file that is not a heap the kernel answers
    // ENOTTY without touching memory.
    unsafe { ioctl(heap.as_fd(), Updater::<DMA_HEAP_IOCTL_ALLOC, _>::new(&mut data))? };
    let raw_fd = i32::try_from(data.fd).map_err(|_| Errno::BADF)?;
    // SAFETY: on success the kernel has installed a new fd in this process and passed its ownership
    // to the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(raw_fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocation_data_matches_the_kernel_header() {
        assert_eq!(size_of::<DmaHeapAllocationData>(), 24);
        assert_eq!(DMA_HEAP_IOCTL_ALLOC, 0xc018_4800);
    }

    #[test]
    fn a_file_that_is_no_heap_is_refused() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(allocate(&null, 4096).unwrap_err(), Errno::NOTTY);
    }
}
