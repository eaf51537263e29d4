// SPDX-License-Identifier: Apache-2.0
//! Attributes of an open file: size, kind, mount, alignment of direct I/O, and the type of its file
//! system.
//!
//! Source: `statx(2)` (`STATX_DIOALIGN`, Linux 6.1; `STATX_DIO_READ_ALIGN`, Linux 6.14),
//! `statfs(2)`.

use std::os::fd::AsFd;

use rustix::fs::{fstatfs, statx, AtFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Result;

/// Alignment that direct I/O needs, as the file system reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectIoAlign {
    /// Alignment of the memory, in bytes; 0 where direct I/O is not possible on this file.
    pub memory_bytes: u32,
    /// Alignment of file offsets and lengths, in bytes; 0 where direct I/O is not possible on this
    /// file.
    pub offset_bytes: u32,
    /// Alignment of file offsets and lengths for reads, in bytes; `None` where the file system
    /// reports none of its own, and [`DirectIoAlign::offset_bytes`] applies to reads, too.
    pub read_offset_bytes: Option<u32>,
}

/// Not in rustix yet.
const STATX_DIO_READ_ALIGN: StatxFlags = StatxFlags::from_bits_retain(0x0002_0000);

/// Where a file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountOf {
    /// The mount of the open file. While the file is open, no other mount gets the number. `None`
    /// before Linux 5.8.
    pub mount_id: Option<u64>,
    /// Device number of the file system: major, minor.
    pub device: (u32, u32),
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
    /// Its mount and its file system.
    pub mount: MountOf,
    /// The size of a block of the file system, in bytes.
    pub block_bytes: u32,
    /// Alignment for direct I/O; `None` where the kernel or file system does not report it.
    pub direct_io_align: Option<DirectIoAlign>,
    /// The content is stored compressed.
    pub compressed: bool,
    /// The content is stored encrypted.
    pub encrypted: bool,
    /// fs-verity is enabled on the file.
    pub verity: bool,
}

/// `statx` does not ask the server of a file system: the process behind a FUSE mount, or another
/// machine.
const WITHOUT_SERVER: AtFlags = AtFlags::EMPTY_PATH.union(AtFlags::STATX_DONT_SYNC);

/// Asks `statx` about an open file, as `stat(2)` does. The server of the file system may be asked:
/// if it does not answer, this does not return, and no signal ends that.
///
/// # Errors
/// Those of `statx(2)`; with an `O_PATH` fd it still answers.
pub fn file_attributes(file: impl AsFd) -> Result<FileAttributes> {
    attributes(file, AtFlags::EMPTY_PATH)
}

/// As [`file_attributes`], and asks no server: the kernel answers with what it knows, which is all
/// where the file system has no server.
///
/// # Errors
/// Those of `statx(2)`: `ACCESS` for a file of another user's FUSE mount.
pub fn cached_file_attributes(file: impl AsFd) -> Result<FileAttributes> {
    attributes(file, WITHOUT_SERVER)
}

fn attributes(file: impl AsFd, flags: AtFlags) -> Result<FileAttributes> {
    let wanted =
        StatxFlags::BASIC_STATS | StatxFlags::MNT_ID | StatxFlags::DIOALIGN | STATX_DIO_READ_ALIGN;
    let stat = statx(file, "", flags, wanted)?;
    let reports = |what: StatxFlags| stat.stx_mask & what.bits() != 0;
    let has = |attribute| stat.stx_attributes.contains(attribute);
    let read_offset_bytes = stat.stx_dio_read_offset_align;
    Ok(FileAttributes {
        size_bytes: stat.stx_size,
        allocated_sectors: stat.stx_blocks,
        mode: stat.stx_mode,
        inode: stat.stx_ino,
        mount: mount_in(&stat),
        block_bytes: stat.stx_blksize,
        direct_io_align: reports(StatxFlags::DIOALIGN).then_some(DirectIoAlign {
            memory_bytes: stat.stx_dio_mem_align,
            offset_bytes: stat.stx_dio_offset_align,
            read_offset_bytes: (reports(STATX_DIO_READ_ALIGN) && read_offset_bytes > 0)
                .then_some(read_offset_bytes),
        }),
        compressed: has(StatxAttributes::COMPRESSED),
        encrypted: has(StatxAttributes::ENCRYPTED),
        verity: has(StatxAttributes::VERITY),
    })
}

/// Where a file lies. Asks no server, and is answered for every fd.
///
/// # Errors
/// Those of `statx(2)`.
pub fn mount_of(file: impl AsFd) -> Result<MountOf> {
    Ok(mount_in(&statx(file, "", WITHOUT_SERVER, StatxFlags::empty())?))
}

fn mount_in(stat: &Statx) -> MountOf {
    let has_id = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    MountOf {
        mount_id: has_id.then_some(stat.stx_mnt_id),
        device: (stat.stx_dev_major, stat.stx_dev_minor),
    }
}

/// The type of the file system that holds the file: `f_type` of `fstatfs(2)`, for example
/// `0xf2f52010` for F2FS. A FUSE server is asked, with the risk of [`file_attributes`].
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
        for facts in [file_attributes(&file).unwrap(), cached_file_attributes(&file).unwrap()] {
            assert_eq!(facts.size_bytes, file.metadata().unwrap().len());
            assert_eq!(u32::from(facts.mode) & libc::S_IFMT, libc::S_IFREG);
            assert_eq!(mount_of(&file), Ok(facts.mount));
            assert!(facts.mount.mount_id.is_some());
            assert!(facts.block_bytes.is_power_of_two());
        }
    }
}
