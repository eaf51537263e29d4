// SPDX-License-Identifier: Apache-2.0
//! sync_file: puts fences into a dma-buf, takes them out of it, and tells whether they signalled.
//!
//! Source: `include/uapi/linux/dma-buf.h` and `drivers/dma-buf/sync_file.c` of Linux 6.0 and later.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use dmabuf_uapi::dma_buf::CpuAccess;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::{Errno, Result};
use rustix::ioctl::{ioctl, opcode, Opcode, Setter, Updater};

/// `struct dma_buf_export_sync_file`.
#[repr(C)]
struct DmaBufExportSyncFile {
    flags: u32,
    fd: i32,
}

/// `struct dma_buf_import_sync_file`.
#[repr(C)]
struct DmaBufImportSyncFile {
    flags: u32,
    fd: i32,
}

const DMA_BUF_IOCTL_EXPORT_SYNC_FILE: Opcode = opcode::read_write::<DmaBufExportSyncFile>(b'b', 2);
const DMA_BUF_IOCTL_IMPORT_SYNC_FILE: Opcode = opcode::write::<DmaBufImportSyncFile>(b'b', 3);

/// Puts the fences of `sync_file` into the buffer, as if a device that reads or writes the buffer
/// signalled them.
///
/// The fence of a reader is in the way of those who write; the fence of a writer is in the way of
/// everybody.
///
/// # Errors
/// - `NOTTY`: `buffer` is not a dma-buf, or the kernel has no `CONFIG_SYNC_FILE`.
/// - `INVAL`: `sync_file` is not a sync_file, or `access` is empty.
pub fn import(buffer: impl AsFd, sync_file: impl AsFd, access: CpuAccess) -> Result<()> {
    let data = DmaBufImportSyncFile { flags: flags_of(access), fd: sync_file.as_fd().as_raw_fd() };
    // SAFETY: the opcode is DMA_BUF_IOCTL_IMPORT_SYNC_FILE, which reads one
    // `struct dma_buf_import_sync_file` and writes nothing back.
    unsafe { ioctl(buffer.as_fd(), Setter::<DMA_BUF_IOCTL_IMPORT_SYNC_FILE, _>::new(data)) }
}

/// Takes the fences that somebody with `access` would wait for out of the buffer as one sync_file;
/// they stay in the buffer. Without any, the sync_file has signalled.
///
/// # Errors
/// - `NOTTY`: `buffer` is not a dma-buf, or the kernel has no `CONFIG_SYNC_FILE`.
/// - `INVAL`: `access` is empty.
pub fn export(buffer: impl AsFd, access: CpuAccess) -> Result<OwnedFd> {
    let mut data = DmaBufExportSyncFile { flags: flags_of(access), fd: -1 };
    // SAFETY: the opcode is DMA_BUF_IOCTL_EXPORT_SYNC_FILE and `data` has the layout the kernel
    // defines for it (repr(C), 8 bytes, checked by a test); a file that is not a dma-buf does not
    // touch it.
    let updater = unsafe { Updater::<DMA_BUF_IOCTL_EXPORT_SYNC_FILE, _>::new(&mut data) };
    // SAFETY: as above.
    unsafe { ioctl(buffer.as_fd(), updater)? };
    if data.fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: on success the kernel has installed a new fd, with O_CLOEXEC, in this process and
    // passed its ownership to the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(data.fd) })
}

/// Tells whether every fence of the sync_file has signalled.
///
/// # Errors
/// Those of `poll(2)`.
pub fn has_signalled(sync_file: impl AsFd) -> Result<bool> {
    let mut polled = [PollFd::new(&sync_file, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&Timespec::default()))? == 1)
}

fn flags_of(access: CpuAccess) -> u32 {
    // The flags of these calls are those of DMA_BUF_IOCTL_SYNC in 32 bits.
    access.bits() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<DmaBufExportSyncFile>(), 8);
        assert_eq!(size_of::<DmaBufImportSyncFile>(), 8);
        assert_eq!(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, 0xc008_6202);
        assert_eq!(DMA_BUF_IOCTL_IMPORT_SYNC_FILE, 0x4008_6203);
    }

    #[test]
    fn an_ordinary_file_takes_no_fences() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(import(&file, &file, CpuAccess::WRITE).err(), Some(Errno::NOTTY));
        assert_eq!(export(&file, CpuAccess::WRITE).err(), Some(Errno::NOTTY));
    }
}
