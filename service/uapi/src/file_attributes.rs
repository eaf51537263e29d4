// SPDX-License-Identifier: Apache-2.0
//! Attributes of an open file: size, kind, alignment of direct I/O, and the type of its file
//! system.
//!
//! Source: `statx(2)` (`STATX_DIOALIGN`, Linux 6.1), `statfs(2)`.

use std::os::fd::AsFd;

use rustix::fs::{fstatfs, statx, AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Result;

/// Alignment that direct I/O needs, as the file system reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectIoAlign {
    /// Alignment of the memory, in bytes; 0 where direct I/O is not possible on this file.
    pub memory_bytes: u32,
    /// Alignment of file offsets and lengths, in bytes; 0 where direct I/O is not possible on this
    /// file.
    pub offset_bytes: u32,
}

/// Facts of one open file.
#[derive(Clone, Copy, Debug)]
pub struct FileAttributes {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Space allocated to the file, in units of 512 bytes.
    pub allocated_sectors: u64,
    /// `st_mode`: kind and permissions.
    pub mode: u16,
    /// Inode number.
    pub inode: u64,
    /// Device number of the file system: major, minor.
    pub device: (u32, u32),
    /// Alignment for direct I/O; `None` where the kernel or file system does not report it.
    pub direct_io_align: Option<DirectIoAlign>,
    /// The content is stored compressed.
    pub compressed: bool,
    /// The content is stored encrypted.
    pub encrypted: bool,
    /// fs-verity is enabled on the file.
    pub verity: bool,
}

/// Asks `statx` and `fstatfs` about an open file.
///
/// # Errors
/// Those of `statx(2)` and `fstatfs(2)`; with an `O_PATH` fd both still answer.
pub fn file_attributes(file: impl AsFd) -> Result<FileAttributes> {
    let file = file.as_fd();
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::DIOALIGN;
    let stat = statx(file, "", AtFlags::EMPTY_PATH, wanted)?;
    let reports_align = stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
    let has = |attribute| stat.stx_attributes.contains(attribute);
    Ok(FileAttributes {
        size_bytes: stat.stx_size,
        allocated_sectors: stat.stx_blocks,
        mode: stat.stx_mode,
        inode: stat.stx_ino,
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        direct_io_align: reports_align.then_some(DirectIoAlign {
            memory_bytes: stat.stx_dio_mem_align,
            offset_bytes: stat.stx_dio_offset_align,
        }),
        compressed: has(StatxAttributes::COMPRESSED),
        encrypted: has(StatxAttributes::ENCRYPTED),
        verity: has(StatxAttributes::VERITY),
    })
}

/// The type of the file system that holds the file: `f_type` of `fstatfs(2)`, for example
/// `0xf2f52010` for F2FS.
///
/// # Errors
/// Those of `fstatfs(2)`.
pub fn file_system_magic(file: impl AsFd) -> Result<u64> {
    Ok(fstatfs(file)?.f_type as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_file_has_its_size_and_kind() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let facts = file_attributes(&file).unwrap();
        assert_eq!(facts.size_bytes, file.metadata().unwrap().len());
        assert_eq!(u32::from(facts.mode) & libc::S_IFMT, libc::S_IFREG);
    }
}
