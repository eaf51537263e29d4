// SPDX-License-Identifier: Apache-2.0
//! Calls on a dma-buf fd: CPU access brackets, waiting for devices, name, size.
//!
//! Source: `include/uapi/linux/dma-buf.h` and `Documentation/driver-api/dma-buf.rst` of Linux 6.12.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use bitflags::bitflags;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::FileType;
use rustix::io::{retry_on_intr, Errno, Result};
use rustix::ioctl::{ioctl, opcode, Setter};

use crate::file_attributes::{cached_file_attributes, file_system_magic};

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

/// `f_type` of the file system of dma-bufs, `include/uapi/linux/magic.h`.
const DMA_BUF_MAGIC: u64 = 0x444d_4142;

const SYNC_END: u64 = 4;

/// `struct dma_buf_sync`.
#[repr(C)]
struct DmaBufSync {
    flags: u64,
}

const DMA_BUF_IOCTL_SYNC: rustix::ioctl::Opcode = opcode::write::<DmaBufSync>(b'b', 0);
const DMA_BUF_SET_NAME_B: rustix::ioctl::Opcode = opcode::write::<u64>(b'b', 1);

fn sync(buffer: BorrowedFd<'_>, flags: u64) -> Result<()> {
    let arg = DmaBufSync { flags };
    // SAFETY: the opcode is DMA_BUF_IOCTL_SYNC, which reads one `struct dma_buf_sync` and writes
    // nothing back.
    unsafe { ioctl(buffer, Setter::<DMA_BUF_IOCTL_SYNC, _>::new(arg)) }
}

/// A bracket of CPU access: `DMA_BUF_SYNC_START` when made, `DMA_BUF_SYNC_END` when ended or
/// dropped.
///
/// The CPU may touch a mapping of the buffer only while one of these lives.
#[must_use = "the CPU access ends when this is dropped"]
pub struct CpuAccessGuard<'fd> {
    buffer: BorrowedFd<'fd>,
    access: CpuAccess,
    ended: bool,
}

impl<'fd> CpuAccessGuard<'fd> {
    /// Starts CPU access to `buffer`, waiting without a limit for devices that still use it: see
    /// [`wait_for_fences`].
    ///
    /// # Errors
    /// - `NOTTY`: the fd is not a dma-buf.
    /// - Those of the exporter.
    pub fn begin(buffer: BorrowedFd<'fd>, access: CpuAccess) -> Result<Self> {
        retry_on_intr(|| Self::begin_unless_interrupted(buffer, access))
    }

    /// As [`CpuAccessGuard::begin`], but ends when a signal interrupts the wait.
    ///
    /// # Errors
    /// As for [`CpuAccessGuard::begin`], and `INTR`.
    pub fn begin_unless_interrupted(buffer: BorrowedFd<'fd>, access: CpuAccess) -> Result<Self> {
        sync(buffer, access.bits())?;
        Ok(Self { buffer, access, ended: false })
    }

    /// Ends the access and reports what the exporter says, which dropping cannot.
    ///
    /// # Errors
    /// Those of the exporter's cache maintenance.
    pub fn end(mut self) -> Result<()> {
        self.ended = true;
        self.sync_end()
    }

    fn sync_end(&self) -> Result<()> {
        retry_on_intr(|| sync(self.buffer, self.access.bits() | SYNC_END))
    }
}

impl Drop for CpuAccessGuard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // Nobody is left to hear of a failure here; callers that must know call `end`.
            let _ = self.sync_end();
        }
    }
}

/// Waits until the fences in the buffer that are in the way of `access` have signalled: for reading
/// those of devices that write, for writing all. Returns whether they have; a signal to this thread
/// ends the wait early.
///
/// Until the fences signal, the kernel keeps a reference of its own to a buffer that was waited
/// for, which [`crate::counted_buffer::CountedBuffer::references`] counts.
///
/// # Errors
/// Those of `poll(2)`.
pub fn wait_for_fences(
    buffer: BorrowedFd<'_>,
    access: CpuAccess,
    timeout: Duration,
) -> Result<bool> {
    let writes = access.contains(CpuAccess::WRITE);
    let events = if writes { PollFlags::OUT } else { PollFlags::IN };
    let timeout = Timespec::try_from(timeout).map_err(|_| Errno::INVAL)?;
    match poll(&mut [PollFd::from_borrowed_fd(buffer, events)], Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Sets the name that `/proc/PID/fdinfo` and debugfs show for the buffer.
///
/// # Errors
/// - `INVAL`: longer than [`MAX_NAME_BYTES`].
/// - `NOTTY`: the fd is not a dma-buf.
pub fn set_name(buffer: impl AsFd, name: &CStr) -> Result<()> {
    let address = name.as_ptr() as u64;
    // SAFETY: DMA_BUF_SET_NAME_B passes the address of a NUL-terminated string as its argument
    // word; rustix's Setter would pass a pointer to the word instead, hence `NameSetter`. The
    // string outlives the call and is only read.
    unsafe { ioctl(buffer.as_fd(), NameSetter { address }) }
}

/// The size in bytes if the fd is a dma-buf, `None` if it is anything else. An `O_PATH` fd of a
/// dma-buf also has a size.
///
/// Every dma-buf, and nothing else, lies in a file system of its own type (`DMA_BUF_MAGIC`, Linux
/// 5.3), whose inodes have the size of their buffers. Under SELinux the caller needs `getattr` on
/// that file system, which policies do not label.
///
/// `fstatfs(2)` on a file of a FUSE mount would wait for its server, so it is asked only about what
/// can be a dma-buf.
///
/// # Errors
/// Those of `fstatfs(2)` and `statx(2)`: `ACCESS` where SELinux refuses it.
pub fn size_if_dma_buf(fd: impl AsFd) -> Result<Option<u64>> {
    let fd = fd.as_fd();
    let attributes = cached_file_attributes(fd)?;
    let may_be_dma_buf = match FileType::from_raw_mode(attributes.mode.into()) {
        FileType::Unknown => true,
        FileType::RegularFile => is_named_as_dma_buf(fd),
        _ => false,
    };
    if !may_be_dma_buf || file_system_magic(fd)? != DMA_BUF_MAGIC {
        return Ok(None);
    }
    Ok(Some(attributes.size_bytes))
}

/// Some stable kernels call dma-bufs regular files (those with "anon_inode: use a proper mode
/// internally" and without "anon_inode: rework assertions").
fn is_named_as_dma_buf(fd: BorrowedFd<'_>) -> bool {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).is_ok_and(|name| name.as_os_str().as_bytes().starts_with(b"/dmabuf:"))
}

struct NameSetter {
    address: u64,
}

// SAFETY: `opcode` is DMA_BUF_SET_NAME_B, which takes a user-space address in the argument word,
// reads a C string there and writes nothing, so IS_MUTATING is false and there is no output to
// interpret.
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

    /// A pipe whose writer is silent stands for a buffer with a fence.
    #[test]
    fn waiting_for_fences_ends_after_its_time() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let waited = |access| wait_for_fences(reader.as_fd(), access, Duration::from_millis(5));
        assert_eq!(waited(CpuAccess::READ), Ok(false));
        let for_writing = wait_for_fences(writer.as_fd(), CpuAccess::WRITE, Duration::ZERO);
        assert_eq!(for_writing, Ok(true));
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(waited(CpuAccess::READ), Ok(true));
    }

    #[test]
    fn an_ordinary_file_is_no_dma_buf() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(size_if_dma_buf(&file), Ok(None));
        assert_eq!(set_name(&file, c"name").unwrap_err(), Errno::NOTTY);
        assert_eq!(CpuAccessGuard::begin(file.as_fd(), CpuAccess::READ).err(), Some(Errno::NOTTY));
    }
}
