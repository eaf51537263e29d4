// SPDX-License-Identifier: Apache-2.0
//! Whether direct I/O on a file is direct, by what `statx(2)` and the file system say.

use dmabuf_uapi::file_attributes::FileAttributes;
use dmabuf_uapi::Result as KernelResult;

use crate::io_path::Detail;

/// The alignment assumed where a kernel older than 6.1 does not report one: the block size of
/// Android's file systems.
pub(super) const FALLBACK_ALIGN_BYTES: u32 = 4096;

const F2FS_MAGIC: u64 = 0xf2f5_2010;
const EXT4_MAGIC: u64 = 0xef53;
const XFS_MAGIC: u64 = 0x5846_5342;

/// File systems that do direct I/O on ordinary files: F2FS, ext4, XFS. Asked only where `statx`
/// does not tell.
const DIRECT_FILE_SYSTEM_MAGICS: [u64; 3] = [F2FS_MAGIC, EXT4_MAGIC, XFS_MAGIC];

/// Whether the file can be read or written directly through an fd that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// Yes, with this alignment.
    Possible {
        /// Alignment of the memory, in bytes.
        memory_align_bytes: u32,
        /// Alignment of file offset and length, in bytes.
        offset_align_bytes: u32,
    },
    /// The file system does not do it on this file, or only pretends to.
    NotOnThisFile(Detail),
    /// The file system would, but the fd is open without `O_DIRECT` and cannot be reopened.
    OpenedBuffered(Detail),
    /// The same, and reopening the file costs more than it saves.
    ReopeningCostsMore,
}

/// What the planner needs to know of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Size in bytes when the request arrived. Only a hint: the file may change.
    pub size_bytes: u64,
    /// Whether there is an fd without `O_DIRECT`.
    pub has_buffered_fd: bool,
    /// Whether less is allocated than the file is long: a hole, or compression.
    pub is_sparse: bool,
    /// Whether there is an fd that does direct I/O.
    pub direct: DirectIo,
}

impl FileFacts {
    /// The alignment of file offsets that an `O_DIRECT` fd needs, in bytes.
    pub fn offset_align_bytes(&self) -> u32 {
        match self.direct {
            DirectIo::Possible { offset_align_bytes, .. } => offset_align_bytes,
            _ => FALLBACK_ALIGN_BYTES,
        }
    }

    /// How many bytes the file has from an offset on.
    pub fn bytes_from(&self, file_offset_bytes: u64) -> u64 {
        self.size_bytes.saturating_sub(file_offset_bytes)
    }
}

/// `magic` gives the type of the file system, which is seldom needed.
pub(super) fn direct_io(
    attributes: &FileAttributes,
    magic: impl Fn() -> KernelResult<u64>,
) -> KernelResult<DirectIo> {
    let possible = |memory_align_bytes, offset_align_bytes| DirectIo::Possible {
        memory_align_bytes,
        offset_align_bytes,
    };
    Ok(match attributes.direct_io_align {
        _ if may_be_f2fs_inline(attributes) && magic()? == F2FS_MAGIC => not_on_this_file(
            "F2FS keeps this small file in its inode and reads it through the page cache",
        ),
        // What is read around the page cache is not checked by fs-verity.
        Some(align) if align.memory_bytes > 0 && align.offset_bytes > 0 && !attributes.verity => {
            possible(align.memory_bytes, align.offset_bytes)
        }
        Some(_) => not_on_this_file(format!(
            "the file system does no direct I/O on this file{}",
            cause(attributes)
        )),
        // Without an answer the kinds of files that some kernels silently read through the page
        // cache count as such.
        None if !cause(attributes).is_empty() => not_on_this_file(format!(
            "the kernel does not tell whether there is direct I/O on this file{}",
            cause(attributes)
        )),
        None if DIRECT_FILE_SYSTEM_MAGICS.contains(&magic()?) => {
            possible(FALLBACK_ALIGN_BYTES, FALLBACK_ALIGN_BYTES)
        }
        None => not_on_this_file(format!(
            "the file system (type {:#x}) reports no direct I/O",
            magic()?
        )),
    })
}

fn not_on_this_file(why: impl Into<Detail>) -> DirectIo {
    DirectIo::NotOnThisFile(why.into())
}

/// Whether the data are in the inode, if the file is on F2FS. F2FS allocates blocks of 8 sectors
/// and adds the sectors of inline data to what it reports (`f2fs_getattr`, `fs/f2fs/file.c`);
/// `STATX_DIOALIGN` does not tell, as it is about writes.
fn may_be_f2fs_inline(attributes: &FileAttributes) -> bool {
    attributes.allocated_sectors % 8 != 0
}

fn cause(attributes: &FileAttributes) -> &'static str {
    if attributes.compressed {
        ": it is compressed"
    } else if attributes.verity {
        ": it has fs-verity"
    } else if attributes.encrypted {
        ": it is encrypted"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use dmabuf_uapi::file_attributes::{file_attributes, DirectIoAlign};

    use super::*;

    #[test]
    fn a_file_with_fs_verity_is_not_direct() {
        let file = File::open("/proc/self/exe").unwrap();
        let attributes = FileAttributes {
            allocated_sectors: 8,
            direct_io_align: Some(DirectIoAlign { memory_bytes: 512, offset_bytes: 512 }),
            verity: true,
            ..file_attributes(&file).unwrap()
        };
        let direct = direct_io(&attributes, || Ok(EXT4_MAGIC)).unwrap();
        assert!(matches!(direct, DirectIo::NotOnThisFile(detail) if detail.contains("fs-verity")));
    }

    #[test]
    fn a_file_in_its_f2fs_inode_is_not_direct() {
        let file = File::open("/proc/self/exe").unwrap();
        let with = |file_system_magic, allocated_sectors| {
            let attributes = FileAttributes {
                allocated_sectors,
                direct_io_align: Some(DirectIoAlign { memory_bytes: 4096, offset_bytes: 4096 }),
                ..file_attributes(&file).unwrap()
            };
            direct_io(&attributes, || Ok(file_system_magic)).unwrap()
        };
        assert!(matches!(with(F2FS_MAGIC, 1), DirectIo::NotOnThisFile(_)));
        assert!(matches!(with(F2FS_MAGIC, 8), DirectIo::Possible { .. }));
        assert!(matches!(with(EXT4_MAGIC, 2), DirectIo::Possible { .. }));
    }

    #[test]
    fn where_the_kernel_does_not_tell_only_plain_files_are_direct() {
        let file = File::open("/proc/self/exe").unwrap();
        let plain = FileAttributes {
            allocated_sectors: 8,
            direct_io_align: None,
            compressed: false,
            encrypted: false,
            verity: false,
            ..file_attributes(&file).unwrap()
        };
        let expected = DirectIo::Possible {
            memory_align_bytes: FALLBACK_ALIGN_BYTES,
            offset_align_bytes: FALLBACK_ALIGN_BYTES,
        };
        let of = |attributes: &FileAttributes| direct_io(attributes, || Ok(F2FS_MAGIC)).unwrap();
        assert_eq!(of(&plain), expected);
        for (special, word) in [
            (FileAttributes { compressed: true, ..plain }, "compressed"),
            (FileAttributes { verity: true, ..plain }, "fs-verity"),
            (FileAttributes { encrypted: true, ..plain }, "encrypted"),
        ] {
            let DirectIo::NotOnThisFile(detail) = of(&special) else {
                panic!("{word}: {:?}", of(&special));
            };
            assert!(detail.contains(word), "{detail}");
        }
    }
}
