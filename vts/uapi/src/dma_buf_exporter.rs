// SPDX-License-Identifier: Apache-2.0
//! The test exporter of dma-bufs: buffers whose memory their owner takes away while others have
//! them mapped, as purgeable buffers of GPU drivers.
//!
//! Source: `vts/device/kernel/exporter/vts_dma_buf_exporter.h`, a kernel module for tests.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::Result;
use rustix::ioctl::{ioctl, opcode, Setter, Updater};

/// The module's node.
pub const EXPORTER_NODE: &str = "/dev/vts_dma_buf_exporter";

/// `struct vts_exporter_export`.
#[repr(C)]
struct VtsExporterExport {
    len: u64,
    dmabuf_fd: i32,
    reserved: u32,
}

const VTS_EXPORTER_EXPORT: rustix::ioctl::Opcode =
    opcode::read_write::<VtsExporterExport>(b'i', 0xd2);
const VTS_EXPORTER_PURGE: rustix::ioctl::Opcode = opcode::write::<i32>(b'i', 0xd3);

/// Opens the node.
///
/// # Errors
/// `NOENT` on a kernel without the module; `ACCESS`.
pub fn open_exporter() -> Result<OwnedFd> {
    open(EXPORTER_NODE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a zeroed dma-buf.
///
/// # Errors
/// - `INVAL`: the length is no multiple of the page size, 0, or more than 64 MiB.
/// - `NOMEM`, `MFILE`.
/// - `NOTTY`: the file is not the exporter.
pub fn export(exporter: impl AsFd, len_bytes: u64) -> Result<OwnedFd> {
    let mut data = VtsExporterExport { len: len_bytes, dmabuf_fd: -1, reserved: 0 };
    // SAFETY: the opcode is VTS_EXPORTER_EXPORT and `data` has the layout that the module defines
    // for it (repr(C), 16 bytes, checked by a test).
    unsafe { ioctl(exporter, Updater::<VTS_EXPORTER_EXPORT, _>::new(&mut data))? };
    // SAFETY: the call succeeded, so that this is a new fd of this process which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(data.dmabuf_fd) })
}

/// Takes the memory of a buffer of the exporter away: the kernel answers an access to a mapping of
/// it by SIGBUS, or `EFAULT` where the kernel makes it.
///
/// # Errors
/// - `INVAL`: the buffer is not one of the exporter, or no dma-buf.
/// - `NOTTY`: the file is not the exporter.
pub fn purge(exporter: impl AsFd, buffer: impl AsFd) -> Result<()> {
    let fd = buffer.as_fd().as_raw_fd();
    // SAFETY: the opcode is VTS_EXPORTER_PURGE, whose argument is a pointer to an int with an fd.
    unsafe { ioctl(exporter, Setter::<VTS_EXPORTER_PURGE, i32>::new(fd)) }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn layouts_are_those_of_the_module() {
        assert_eq!(size_of::<VtsExporterExport>(), 16);
        assert_eq!(std::mem::offset_of!(VtsExporterExport, dmabuf_fd), 8);
    }

    #[test]
    fn a_file_must_be_the_exporter() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(export(&null, 4096).map(drop), Err(Errno::NOTTY));
        assert_eq!(purge(&null, &null), Err(Errno::NOTTY));
    }
}
