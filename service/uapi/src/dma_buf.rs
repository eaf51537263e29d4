// SPDX-License-Identifier: Apache-2.0
//! Calls on a dma-buf fd: CPU access brackets, name, size.
//!
//! Source: `include/uapi/linux/dma-buf.h` and `Documentation/driver-api/dma-buf.rst` of Linux 6.12.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use bitflags::bitflags;
use rustix::fs::{fstat, seek, FileType, SeekFrom, Stat};
use rustix::io::{retry_on_intr, Errno, Result};
use rustix::ioctl::{ioctl, opcode, Setter};

bitflags! {
    /// What the CPU will do with the bytes of a dma-buf between begin and end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CpuAccess: u64 {
        /// The CPU reads.
        const READ = 1;
        /// The CPU writes.
        const WRITE = 2;
    }
}

/// The longest name of a dma-buf in bytes, without the terminating NUL (`DMA_BUF_NAME_LEN` - 1).
pub const MAX_NAME_BYTES: usize = 31;

const SYNC_END: u64 = 4;

/// `struct dma_buf_sync`.
#[repr(C)]
struct DmaBufSync {
    flags: u64,
}

const DMA_BUF_IOCTL_SYNC: rustix::ioctl::Opcode = opcode::write::<DmaBufSync>(b'b', 0);
const DMA_BUF_SET_NAME_B: rustix::ioctl::Opcode = opcode::write::<u64>(b'b', 1);

fn sync(buffer: BorrowedFd<'_>, flags: u64) -> Result<()> {
    retry_on_intr(|| {
        let arg = DmaBufSync { flags };
        // SAFETY: the opcode is DMA_BUF_IOCTL_SYNC, which reads one `struct dma_buf_sync` and writes nothing back.
        unsafe { ioctl(buffer, Setter::<DMA_BUF_IOCTL_SYNC, _>::new(arg)) }
    })
}

/// A bracket of CPU access: `DMA_BUF_SYNC_START` when made, `DMA_BUF_SYNC_END` when ended or dropped.
///
/// The CPU may touch a mapping of the buffer only while one of these lives.
#[must_use = "the CPU access ends when this is dropped"]
pub struct CpuAccessGuard<'fd> {
    buffer: BorrowedFd<'fd>,
    access: CpuAccess,
    ended: bool,
}

impl<'fd> CpuAccessGuard<'fd> {
    /// Starts CPU access to `buffer`, waiting for devices that still use it.
    ///
    /// # Errors
    /// - `NOTTY`: the fd is no dma-buf.
    /// - Those of the exporter.
    pub fn begin(buffer: BorrowedFd<'fd>, access: CpuAccess) -> Result<Self> {
        sync(buffer, access.bits())?;
        Ok(Self { buffer, access, ended: false })
    }

    /// Ends the access and reports what the exporter says, which dropping cannot.
    ///
    /// # Errors
    /// Those of the exporter's cache maintenance.
    pub fn end(mut self) -> Result<()> {
        self.ended = true;
        sync(self.buffer, self.access.bits() | SYNC_END)
    }
}

impl Drop for CpuAccessGuard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // Nobody is left to hear of a failure here; callers that must know call `end`.
            let _ = sync(self.buffer, self.access.bits() | SYNC_END);
        }
    }
}

/// Sets the name that `/proc/PID/fdinfo` and debugfs show for the buffer.
///
/// # Errors
/// - `INVAL`: longer than [`MAX_NAME_BYTES`].
/// - `NOTTY`: the fd is no dma-buf.
pub fn set_name(buffer: impl AsFd, name: &CStr) -> Result<()> {
    let address = name.as_ptr() as u64;
    // SAFETY: DMA_BUF_SET_NAME_B passes the address of a NUL-terminated string as its argument word; rustix's Setter
    // would pass a pointer to the word instead, hence `NameSetter`. The string outlives the call and is only read.
    unsafe { ioctl(buffer.as_fd(), NameSetter { address }) }
}

/// The size of a dma-buf in bytes, as the kernel says it.
///
/// Leaves the file position at the end, where a dma-buf does not use it.
///
/// # Errors
/// `SPIPE` or `INVAL` where the fd cannot seek.
pub fn size_bytes(buffer: impl AsFd) -> Result<u64> {
    seek(buffer, SeekFrom::End(0))
}

/// The size in bytes, if the fd is a dma-buf: as [`is_dma_buf`] and [`size_bytes`], in fewer calls.
///
/// # Errors
/// As for [`size_bytes`].
pub fn size_if_dma_buf(fd: impl AsFd) -> Result<Option<u64>> {
    let fd = fd.as_fd();
    match dma_buf_stat(fd) {
        // The kernel gives the inode the buffer's size (`dma_buf_getfile` in `drivers/dma-buf/dma-buf.c`).
        Some(stat) if stat.st_size > 0 => Ok(Some(stat.st_size as u64)),
        Some(_) => size_bytes(fd).map(Some),
        None => Ok(None),
    }
}

/// Whether the fd is a dma-buf: an anonymous file, one without a file type, that knows `DMA_BUF_IOCTL_SYNC` and refuses
/// its empty flags with `INVAL`, or that lies in the file system of one that did. An `O_PATH` fd may be taken for one.
///
/// The question has no side effect on the buffer, and files with a type are not asked.
pub fn is_dma_buf(fd: impl AsFd) -> bool {
    dma_buf_stat(fd.as_fd()).is_some()
}

fn dma_buf_stat(fd: BorrowedFd<'_>) -> Option<Stat> {
    /// The device number of the file system that holds the dma-bufs and nothing else. The kernel mounts it once and for
    /// good (`dma_buf_init` in `drivers/dma-buf/dma-buf.c`).
    static DEVICE: OnceLock<u64> = OnceLock::new();

    let is_anonymous = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Unknown;
    let stat = fstat(fd).ok().filter(is_anonymous)?;
    if DEVICE.get() == Some(&stat.st_dev) {
        return Some(stat);
    }
    matches!(sync(fd, 0), Err(Errno::INVAL)).then(|| {
        DEVICE.get_or_init(|| stat.st_dev);
        stat
    })
}

struct NameSetter {
    address: u64,
}

// SAFETY: `opcode` is DMA_BUF_SET_NAME_B, which takes a user-space address in the argument word, reads a C string there
// and writes nothing, so IS_MUTATING is false and there is no output to interpret.
unsafe impl rustix::ioctl::Ioctl for NameSetter {
    type Output = ();

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> rustix::ioctl::Opcode {
        DMA_BUF_SET_NAME_B
    }

    fn as_ptr(&mut self) -> *mut core::ffi::c_void {
        self.address as *mut core::ffi::c_void
    }

    unsafe fn output_from_ptr(
        _return: rustix::ioctl::IoctlOutput,
        _argument: *mut core::ffi::c_void,
    ) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_match_the_kernel_header() {
        assert_eq!(DMA_BUF_IOCTL_SYNC, 0x4008_6200);
        assert_eq!(DMA_BUF_SET_NAME_B, 0x4008_6201);
    }

    #[test]
    fn an_ordinary_file_is_no_dma_buf() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(!is_dma_buf(&file));
        assert_eq!(set_name(&file, c"name").unwrap_err(), Errno::NOTTY);
        assert_eq!(CpuAccessGuard::begin(file.as_fd(), CpuAccess::READ).err(), Some(Errno::NOTTY));
    }
}
