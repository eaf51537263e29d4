// SPDX-License-Identifier: Apache-2.0
//! FIEMAP: the extents of a file on its block device.
//!
//! Source: `include/uapi/linux/fiemap.h` of Linux 6.12, `FS_IOC_FIEMAP`.

use std::os::fd::AsFd;

use bitflags::bitflags;
use rustix::io::Result;
use rustix::ioctl::{ioctl, opcode, Opcode, Updater};

/// Extents requested per call.
const EXTENTS_PER_CALL: usize = 64;

const FIEMAP_FLAG_SYNC: u32 = 1;

bitflags! {
    /// What the kernel reports about an extent.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ExtentFlags: u32 {
        /// The last extent of the file.
        const LAST = 0x1;
        /// Its place is unknown.
        const UNKNOWN = 0x2;
        /// Its place is not yet allocated.
        const DELAYED_ALLOCATION = 0x4;
        /// Its bytes are encoded, for example compressed.
        const ENCODED = 0x8;
        /// Its place is not a multiple of the block size.
        const NOT_ALIGNED = 0x100;
        /// Its bytes are inside the inode.
        const INLINE = 0x200;
        /// Allocated but never written; reads return zeroes.
        const UNWRITTEN = 0x800;
        /// Several adjoining extents of the file system.
        const MERGED = 0x1000;
        /// Flags that later kernels add.
        const _ = !0;
    }
}

/// A contiguous range of a file on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its offset in the file, in bytes.
    pub file_offset_bytes: u64,
    /// Its offset on the block device, in bytes.
    pub device_offset_bytes: u64,
    /// Its length, in bytes.
    pub len_bytes: u64,
    /// What the kernel reports about it.
    pub flags: ExtentFlags,
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawExtent {
    fe_logical: u64,
    fe_physical: u64,
    fe_length: u64,
    fe_reserved64: [u64; 2],
    fe_flags: u32,
    fe_reserved: [u32; 3],
}

/// `struct fiemap` without its extents: the size that the opcode encodes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Header {
    fm_start: u64,
    fm_length: u64,
    fm_flags: u32,
    fm_mapped_extents: u32,
    fm_extent_count: u32,
    fm_reserved: u32,
}

/// `struct fiemap` with space for extents.
#[repr(C)]
struct Request {
    header: Header,
    extents: [RawExtent; EXTENTS_PER_CALL],
}

const FS_IOC_FIEMAP: Opcode = opcode::read_write::<Header>(b'f', 11);

/// Returns the extents of a file in ascending order, after writing dirty pages back. Holes have
/// none.
///
/// # Errors
/// `OPNOTSUPP`, `NOTTY`: the file system does not report extents.
pub fn extents(file: impl AsFd) -> Result<Vec<Extent>> {
    let file = file.as_fd();
    let mut all: Vec<Extent> = Vec::new();
    loop {
        let start = all.last().map_or(0, |last| last.file_offset_bytes + last.len_bytes);
        let mut request = Request {
            header: Header {
                fm_start: start,
                fm_length: u64::MAX - start,
                fm_flags: FIEMAP_FLAG_SYNC,
                fm_extent_count: EXTENTS_PER_CALL as u32,
                ..Header::default()
            },
            extents: [RawExtent::default(); EXTENTS_PER_CALL],
        };
        // SAFETY: the opcode is FS_IOC_FIEMAP; `request` is the 32-byte header (checked by a test)
        // followed by the number of extents that the header names, all of which the kernel may
        // write and nothing else refers to.
        unsafe { ioctl(file, Updater::<FS_IOC_FIEMAP, _>::new(&mut request))? };
        let mapped = (request.header.fm_mapped_extents as usize).min(EXTENTS_PER_CALL);
        all.extend(request.extents[..mapped].iter().map(|raw| Extent {
            file_offset_bytes: raw.fe_logical,
            device_offset_bytes: raw.fe_physical,
            len_bytes: raw.fe_length,
            flags: ExtentFlags::from_bits_retain(raw.fe_flags),
        }));
        let ended = all.last().is_none_or(|last| last.flags.contains(ExtentFlags::LAST));
        if mapped == 0 || ended {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<Header>(), 32);
        assert_eq!(size_of::<RawExtent>(), 56);
        assert_eq!(std::mem::offset_of!(Request, extents), 32);
        assert_eq!(FS_IOC_FIEMAP, 0xc020_660b);
    }

    #[test]
    fn a_file_without_a_device_has_no_extents() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"test", 4096).unwrap();
        let answer = extents(&memfd);
        assert!(matches!(answer, Err(Errno::OPNOTSUPP | Errno::NOTTY)), "{answer:?}");
    }
}
