// SPDX-License-Identifier: Apache-2.0
//! udmabuf: dma-bufs made of the pages of memfds.
//!
//! Source: `include/uapi/linux/udmabuf.h` and `drivers/dma-buf/udmabuf.c` of Linux 6.12.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::ioctl::{ioctl, opcode, Ioctl, IoctlOutput, Opcode};

/// The device node.
pub const UDMABUF_NODE: &str = "/dev/udmabuf";
/// The largest total of one buffer in MiB: a module parameter, 64 by default.
pub const SIZE_LIMIT_MIB_PARAMETER: &str = "/sys/module/udmabuf/parameters/size_limit_mb";
/// The largest number of ranges of [`create_list`]: a module parameter, 1024 by default.
pub const LIST_LIMIT_PARAMETER: &str = "/sys/module/udmabuf/parameters/list_limit";

const UDMABUF_FLAGS_CLOEXEC: u32 = 1;

/// `struct udmabuf_create`.
#[repr(C)]
struct UdmabufCreate {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

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

const UDMABUF_CREATE: Opcode = opcode::write::<UdmabufCreate>(b'u', 0x42);
const UDMABUF_CREATE_LIST: Opcode = opcode::write::<UdmabufCreateList>(b'u', 0x43);

/// A range of a memfd. Offset and size must be multiples of the page size.
#[derive(Clone, Copy, Debug)]
pub struct MemfdRange<'fd> {
    /// The memfd, sealed against shrinking and not against writing.
    pub memfd: BorrowedFd<'fd>,
    /// Where the range begins in the memfd, in bytes.
    pub offset_bytes: u64,
    /// How long the range is, in bytes.
    pub size_bytes: u64,
}

/// Opens the udmabuf device for reading and writing.
///
/// # Errors
/// Those of `open(2)`: `NOENT` where the kernel has no udmabuf, `ACCESS` where permissions or SELinux refuse it.
pub fn open_device() -> Result<OwnedFd> {
    open(UDMABUF_NODE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a dma-buf of one range of a memfd. The new fd is open for reading and writing and keeps the pages pinned.
///
/// # Errors
/// - `INVAL`: offset or size is no multiple of the page size, is 0 or past the end of the memfd, the size is over the
///   limit of [`SIZE_LIMIT_MIB_PARAMETER`], or the seals are wrong.
/// - `BADFD`: the fd is no memfd.
pub fn create(device: impl AsFd, range: MemfdRange<'_>) -> Result<OwnedFd> {
    let mut arg = UdmabufCreate {
        memfd: fd_word(range.memfd)?,
        flags: UDMABUF_FLAGS_CLOEXEC,
        offset: range.offset_bytes,
        size: range.size_bytes,
    };
    // SAFETY: the opcode is UDMABUF_CREATE and the pointer is to one `struct udmabuf_create` (repr(C), 24 bytes,
    // checked by a test), which the kernel only reads.
    unsafe { ioctl(device.as_fd(), Create { opcode: UDMABUF_CREATE, arg: (&raw mut arg).cast() }) }
}

/// Makes one dma-buf of several ranges, in their order. The ranges may repeat and may come from several memfds.
///
/// # Errors
/// As for [`create`], and `INVAL` for no range or more than [`LIST_LIMIT_PARAMETER`] of them.
pub fn create_list(device: impl AsFd, ranges: &[MemfdRange<'_>]) -> Result<OwnedFd> {
    let count = u32::try_from(ranges.len()).map_err(|_| Errno::INVAL)?;
    let header_words = size_of::<UdmabufCreateList>() / size_of::<u64>();
    let item_words = size_of::<UdmabufCreateItem>() / size_of::<u64>();
    let mut words: Vec<u64> = Vec::with_capacity(header_words + ranges.len() * item_words);
    words.push(pack(UDMABUF_FLAGS_CLOEXEC, count));
    for range in ranges {
        words.extend([pack(fd_word(range.memfd)?, 0), range.offset_bytes, range.size_bytes]);
    }
    let arg: *mut c_void = words.as_mut_ptr().cast();
    // SAFETY: the opcode is UDMABUF_CREATE_LIST; `words` holds the 8-byte header with the true count, then `count`
    // items of 24 bytes, in the kernel's layout (checked by a test), lives across the call and is only read.
    unsafe { ioctl(device.as_fd(), Create { opcode: UDMABUF_CREATE_LIST, arg }) }
}

fn fd_word(fd: BorrowedFd<'_>) -> Result<u32> {
    u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)
}

/// Two consecutive `__u32` as the `u64` that has them in memory order.
fn pack(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

struct Create {
    opcode: Opcode,
    arg: *mut c_void,
}

// SAFETY: both opcodes take a pointer, only read what it points to, and return the new fd as the ioctl's return value.
// Whoever builds a `Create` guarantees that `arg` fits the opcode.
unsafe impl Ioctl for Create {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.arg
    }

    unsafe fn output_from_ptr(returned: IoctlOutput, _argument: *mut c_void) -> Result<OwnedFd> {
        // SAFETY: the ioctl succeeded, so its return value is an fd that the kernel has just installed for the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(returned as RawFd) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<UdmabufCreate>(), 24);
        assert_eq!(size_of::<UdmabufCreateItem>(), 24);
        assert_eq!(size_of::<UdmabufCreateList>(), 8);
        assert_eq!(std::mem::offset_of!(UdmabufCreateItem, offset), 8);
        assert_eq!(UDMABUF_CREATE, 0x4018_7542);
        assert_eq!(UDMABUF_CREATE_LIST, 0x4008_7543);
    }

    #[test]
    fn pack_keeps_memory_order() {
        let bytes = pack(1, 2).to_ne_bytes();
        assert_eq!(bytes[..4], 1u32.to_ne_bytes());
        assert_eq!(bytes[4..], 2u32.to_ne_bytes());
    }
}
