// SPDX-License-Identifier: Apache-2.0
//! udmabuf: dma-bufs made of a range of a memfd's pages.
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

const UDMABUF_FLAGS_CLOEXEC: u32 = 1;

/// `struct udmabuf_create`.
#[repr(C)]
struct UdmabufCreate {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

const UDMABUF_CREATE: Opcode = opcode::write::<UdmabufCreate>(b'u', 0x42);

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
/// Those of `open(2)`: `NOENT` where the kernel has no udmabuf, `ACCESS` where permissions or
/// SELinux refuse it.
pub fn open_device() -> Result<OwnedFd> {
    open(UDMABUF_NODE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a dma-buf of one range of a memfd. The new fd is open for reading and writing and keeps
/// the pages pinned.
///
/// # Errors
/// - `INVAL`: offset or size is not a multiple of the page size, is 0 or past the end of the memfd,
///   the size is over the limit of [`SIZE_LIMIT_MIB_PARAMETER`], or the seals are wrong.
/// - `BADFD`: the fd is not a memfd.
pub fn create(device: impl AsFd, range: MemfdRange<'_>) -> Result<OwnedFd> {
    let arg = UdmabufCreate {
        memfd: u32::try_from(range.memfd.as_raw_fd()).map_err(|_| Errno::BADF)?,
        flags: UDMABUF_FLAGS_CLOEXEC,
        offset: range.offset_bytes,
        size: range.size_bytes,
    };
    // SAFETY: `Create` is UDMABUF_CREATE with its argument; a file that is not a udmabuf device
    // does not touch it.
    unsafe { ioctl(device.as_fd(), Create(arg)) }
}

struct Create(UdmabufCreate);

// SAFETY: UDMABUF_CREATE takes a pointer to one `struct udmabuf_create` (repr(C), 24 bytes, checked
// by a test), only reads it, and returns the new fd as the ioctl's return value.
unsafe impl Ioctl for Create {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        UDMABUF_CREATE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(returned: IoctlOutput, _argument: *mut c_void) -> Result<OwnedFd> {
        // SAFETY: the ioctl succeeded, so its return value is an fd that the kernel has just
        // installed for the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(returned as RawFd) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<UdmabufCreate>(), 24);
        assert_eq!(UDMABUF_CREATE, 0x4018_7542);
    }

    #[test]
    fn a_file_that_is_no_udmabuf_device_is_refused() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let range = MemfdRange { memfd: null.as_fd(), offset_bytes: 0, size_bytes: 4096 };
        assert_eq!(create(&null, range).unwrap_err(), Errno::NOTTY);
    }
}
