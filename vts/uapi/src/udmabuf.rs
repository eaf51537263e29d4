// SPDX-License-Identifier: Apache-2.0
//! udmabuf: makes dma-bufs of several ranges of memfds; [`dmabuf_uapi::udmabuf`] makes them of one
//! range.
//!
//! Source: `include/uapi/linux/udmabuf.h` and `drivers/dma-buf/udmabuf.c` of Linux 6.12.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use dmabuf_uapi::udmabuf::MemfdRange;
use rustix::io::{Errno, Result};
use rustix::ioctl::{opcode, Opcode};

use crate::opened;

/// The most ranges that [`create_list`] accepts: a module parameter, 1024 by default.
pub const LIST_LIMIT_PARAMETER: &str = "/sys/module/udmabuf/parameters/list_limit";

const UDMABUF_FLAGS_CLOEXEC: u32 = 1;

/// `struct udmabuf_create_item`.
#[repr(C)]
struct UdmabufCreateItem {
    memfd: u32,
    __pad: u32,
    offset: u64,
    size: u64,
}

/// The fixed part of `struct udmabuf_create_list`; the items follow it in memory.
#[repr(C)]
struct UdmabufCreateList {
    flags: u32,
    count: u32,
}

const UDMABUF_CREATE_LIST: Opcode = opcode::write::<UdmabufCreateList>(b'u', 0x43);

/// Makes one dma-buf of several ranges, in this order. Ranges may repeat and may be of several
/// memfds.
///
/// # Errors
/// As for [`dmabuf_uapi::udmabuf::create`], and `INVAL` for no range or more than
/// [`LIST_LIMIT_PARAMETER`] of them.
pub fn create_list(device: impl AsFd, ranges: &[MemfdRange<'_>]) -> Result<OwnedFd> {
    let count = u32::try_from(ranges.len()).map_err(|_| Errno::INVAL)?;
    let header_words = size_of::<UdmabufCreateList>() / size_of::<u64>();
    let item_words = size_of::<UdmabufCreateItem>() / size_of::<u64>();
    let mut words: Vec<u64> = Vec::with_capacity(header_words + ranges.len() * item_words);
    words.push(pack(UDMABUF_FLAGS_CLOEXEC, count));
    for range in ranges {
        words.extend([pack(word_of(range.memfd)?, 0), range.offset_bytes, range.size_bytes]);
    }
    // The type of the request number differs between C libraries.
    #[allow(clippy::unnecessary_cast)]
    let request = UDMABUF_CREATE_LIST as _;
    // SAFETY: `words` holds the 8-byte header with the true count, then `count` items of 24 bytes,
    // in the kernel's layout (checked by a test), lives across the call and is only read; a file
    // that is not a udmabuf device does not touch it. A new fd is the caller's.
    unsafe { opened(libc::ioctl(device.as_fd().as_raw_fd(), request, words.as_ptr()).into()) }
}

fn word_of(fd: BorrowedFd<'_>) -> Result<u32> {
    u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)
}

/// Packs two consecutive `__u32` into the `u64` that has them in memory order.
fn pack(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<UdmabufCreateItem>(), 24);
        assert_eq!(size_of::<UdmabufCreateList>(), 8);
        assert_eq!(std::mem::offset_of!(UdmabufCreateItem, offset), 8);
        assert_eq!(UDMABUF_CREATE_LIST, 0x4008_7543);
    }

    #[test]
    fn a_file_must_be_the_udmabuf_device() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let range = MemfdRange { memfd: null.as_fd(), offset_bytes: 0, size_bytes: 4096 };
        assert_eq!(create_list(&null, &[range, range]).unwrap_err(), Errno::NOTTY);
    }

    #[test]
    fn pack_keeps_memory_order() {
        let bytes = pack(1, 2).to_ne_bytes();
        assert_eq!(bytes[..4], 1u32.to_ne_bytes());
        assert_eq!(bytes[4..], 2u32.to_ne_bytes());
    }
}
