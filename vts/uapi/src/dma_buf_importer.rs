// SPDX-License-Identifier: Apache-2.0
//! The test importer of dma-bufs: shows the bytes that a device driver would find in a buffer.
//!
//! Source: `vts/device/kernel/importer/vts_dma_buf_importer.h`, a kernel module for tests.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::Result;
use rustix::ioctl::{ioctl, opcode, Updater};

/// The module's node.
pub const IMPORTER_NODE: &str = "/dev/vts_dma_buf_importer";

/// How an importer finds the memory of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// By the pages that `sg_page_iter` gives, as many GPU drivers do.
    SgPages = 0,
    /// By the DMA addresses of the scatterlist, as a device does.
    Dma = 1,
    /// By the exporter's vmap, as videobuf2-vmalloc and vkms do.
    Vmap = 2,
}

impl View {
    /// Every view.
    pub const ALL: [View; 3] = [View::SgPages, View::Dma, View::Vmap];
}

/// `struct vts_importer_read`.
#[repr(C)]
struct VtsImporterRead {
    bytes: u64,
    offset: u64,
    len: u64,
    dmabuf_fd: i32,
    view: u32,
    sg_entries: u32,
    reserved: u32,
}

const VTS_IMPORTER_READ: rustix::ioctl::Opcode = opcode::read_write::<VtsImporterRead>(b'i', 0xd0);

/// What [`read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How many bytes the view holds, of those that were asked for.
    pub len_bytes: usize,
    /// Entries of the scatterlist; 0 for [`View::Vmap`].
    pub sg_entries: u32,
}

/// Opens the node.
///
/// # Errors
/// `NOENT` on a kernel without the module; `ACCESS`.
pub fn open_importer() -> Result<OwnedFd> {
    open(IMPORTER_NODE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Attaches the importer to a dma-buf, or maps the buffer, for the time of this call, and reads
/// from `offset_bytes` as many bytes as `target` holds.
///
/// # Errors
/// - `INVAL`: the fd is not a dma-buf, or the exporter has no vmap.
/// - `BUSY`: another user of the buffer excludes the importer.
/// - `OPNOTSUPP`: the memory is not ordinary memory, or the kernel hides pages from importers
///   (`CONFIG_DMABUF_DEBUG`).
pub fn read(
    importer: impl AsFd,
    buffer: impl AsFd,
    view: View,
    offset_bytes: u64,
    target: &mut [u8],
) -> Result<Seen> {
    let mut data = VtsImporterRead {
        bytes: target.as_mut_ptr().expose_provenance() as u64,
        offset: offset_bytes,
        len: target.len() as u64,
        dmabuf_fd: buffer.as_fd().as_raw_fd(),
        view: view as u32,
        sg_entries: 0,
        reserved: 0,
    };
    // SAFETY: the opcode is VTS_IMPORTER_READ and `data` has the layout that the module defines for
    // it (repr(C), 40 bytes, checked by a test). The module writes at most `len` bytes to `bytes`,
    // which is an exclusive borrow of that length for the time of the call; a file that is not the
    // module's does not touch either.
    unsafe { ioctl(importer, Updater::<VTS_IMPORTER_READ, _>::new(&mut data))? };
    let len_bytes = usize::try_from(data.len).unwrap_or(usize::MAX).min(target.len());
    Ok(Seen { len_bytes, sg_entries: data.sg_entries })
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn layouts_match_the_module_header() {
        assert_eq!(size_of::<VtsImporterRead>(), 40);
        assert_eq!(std::mem::offset_of!(VtsImporterRead, dmabuf_fd), 24);
        assert_eq!(VTS_IMPORTER_READ, 0xc028_69d0);
    }

    #[test]
    fn a_file_must_be_the_importer() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let read = read(&null, &null, View::Dma, 0, &mut [0; 8]);
        assert_eq!(read.unwrap_err(), Errno::NOTTY);
    }
}
