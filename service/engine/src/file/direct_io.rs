// SPDX-License-Identifier: Apache-2.0
//! Whether direct I/O on a file is direct, by what `statx(2)` says; where that is not enough, the
//! file system has to be tried ([`super::direct_reads`]).

use dmabuf_uapi::file_attributes::FileAttributes;
use dmabuf_uapi::Result as KernelResult;

use crate::io_path::{Detail, Direction};

/// The alignment assumed where the kernel reports none: the block size of Android's file systems.
pub(super) const FALLBACK_ALIGN_BYTES: u32 = 4096;

const SECTOR_BYTES: u32 = 512;

const F2FS_MAGIC: u64 = 0xf2f5_2010;

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

/// What `statx(2)` says about direct I/O on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All there is to know.
    Known(DirectIo),
    /// Nothing about reads, if not this.
    TryReads(Trial),
}

/// A trial that would show whether reads of a file are direct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    /// Alignment of memory, file offset and length, in bytes.
    pub(super) align_bytes: u32,
    /// What the kernel said.
    pub(super) unknown: Detail,
}

/// `magic` gives the type of the file system, which is seldom needed.
pub(super) fn direct_io(
    attributes: &FileAttributes,
    direction: Direction,
    magic: impl Fn() -> KernelResult<u64>,
) -> KernelResult<Answer> {
    let not_on_this_file = |why: Detail| Answer::Known(DirectIo::NotOnThisFile(why));
    let no_answer = match attributes.direct_io_align {
        _ if may_be_f2fs_inline(attributes) && magic()? == F2FS_MAGIC => {
            return Ok(not_on_this_file(
                "F2FS keeps this small file in its inode and reads it through the page cache"
                    .into(),
            ));
        }
        // What is read around the page cache is not checked by fs-verity.
        Some(align) if align.memory_bytes > 0 && align.offset_bytes > 0 && !attributes.verity => {
            let of_reads = align.read_offset_bytes.filter(|_| direction == Direction::Load);
            return Ok(Answer::Known(DirectIo::Possible {
                memory_align_bytes: align.memory_bytes,
                offset_align_bytes: of_reads.unwrap_or(align.offset_bytes),
            }));
        }
        // `fs/f2fs/file.c` (`f2fs_getattr`) answers for writes.
        Some(_) => "the file system reports no direct I/O on this file",
        None => "the kernel does not tell whether there is direct I/O on this file",
    };
    let detail: Detail = format!("{no_answer}{}", cause(attributes)).into();
    let is_final = direction == Direction::Save || attributes.compressed || attributes.verity;
    Ok(if is_final {
        not_on_this_file(detail)
    } else {
        Answer::TryReads(Trial { align_bytes: block_bytes(attributes), unknown: detail })
    })
}

/// The alignment that every direct read of the file system meets: its block.
fn block_bytes(attributes: &FileAttributes) -> u32 {
    let block_bytes = attributes.block_bytes;
    let is_block = block_bytes.is_power_of_two() && (SECTOR_BYTES..=1 << 16).contains(&block_bytes);
    if is_block {
        block_bytes.max(FALLBACK_ALIGN_BYTES)
    } else {
        FALLBACK_ALIGN_BYTES
    }
}

/// Whether the data are in the inode, if the file is on F2FS. F2FS allocates whole blocks, whose
/// size is that of a page, and adds the sectors of inline data to what it reports (`f2fs_getattr`,
/// `fs/f2fs/file.c`); `STATX_DIOALIGN` does not tell, as it is about writes.
fn may_be_f2fs_inline(attributes: &FileAttributes) -> bool {
    let block_sectors = u64::from((attributes.block_bytes / SECTOR_BYTES).max(1));
    attributes.allocated_sectors % block_sectors != 0
}

/// Why there may be no direct I/O, to be appended to a reason; empty where nothing is known.
pub(super) fn cause(attributes: &FileAttributes) -> &'static str {
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

    const EXT4_MAGIC: u64 = 0xef53;
    const XFS_MAGIC: u64 = 0x5846_5342;

    const NO_DIRECT_IO: DirectIoAlign = aligned_to(0);

    const fn aligned_to(bytes: u32) -> DirectIoAlign {
        DirectIoAlign { memory_bytes: bytes, offset_bytes: bytes, read_offset_bytes: None }
    }

    /// A file of one block of 4 KiB.
    fn plain(direct_io_align: Option<DirectIoAlign>) -> FileAttributes {
        let file = File::open("/proc/self/exe").unwrap();
        FileAttributes {
            allocated_sectors: 8,
            block_bytes: 4096,
            direct_io_align,
            compressed: false,
            encrypted: false,
            verity: false,
            ..file_attributes(&file).unwrap()
        }
    }

    fn load(attributes: &FileAttributes, magic: u64) -> Answer {
        direct_io(attributes, Direction::Load, || Ok(magic)).unwrap()
    }

    fn possible(memory_align_bytes: u32, offset_align_bytes: u32) -> Answer {
        Answer::Known(DirectIo::Possible { memory_align_bytes, offset_align_bytes })
    }

    fn why_not(answer: Answer) -> Detail {
        match answer {
            Answer::Known(DirectIo::NotOnThisFile(detail)) => detail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_with_fs_verity_is_not_direct() {
        let attributes = FileAttributes { verity: true, ..plain(Some(aligned_to(512))) };
        assert!(why_not(load(&attributes, EXT4_MAGIC)).contains("fs-verity"));
    }

    #[test]
    fn a_file_in_its_f2fs_inode_is_not_direct() {
        let with = |magic, block_bytes, allocated_sectors| {
            let align = Some(aligned_to(block_bytes));
            load(&FileAttributes { allocated_sectors, block_bytes, ..plain(align) }, magic)
        };
        assert!(why_not(with(F2FS_MAGIC, 4096, 1)).contains("inode"));
        assert_eq!(with(F2FS_MAGIC, 4096, 8), possible(4096, 4096));
        assert_eq!(with(EXT4_MAGIC, 4096, 2), possible(4096, 4096));
    }

    #[test]
    fn an_f2fs_inode_of_16_kib_holds_8_sectors_and_more() {
        for (allocated_sectors, is_inline) in
            [(0, false), (7, true), (8, true), (24, true), (31, true), (32, false), (64, false)]
        {
            let attributes = FileAttributes {
                allocated_sectors,
                block_bytes: 16 << 10,
                ..plain(Some(aligned_to(16 << 10)))
            };
            let answer = load(&attributes, F2FS_MAGIC);
            assert_eq!(answer != possible(16 << 10, 16 << 10), is_inline, "{allocated_sectors}");
        }
    }

    #[test]
    fn reads_have_the_alignment_that_is_reported_for_them() {
        let align = DirectIoAlign { read_offset_bytes: Some(512), ..aligned_to(4096) };
        assert_eq!(load(&plain(Some(align)), XFS_MAGIC), possible(4096, 512));
        let save = direct_io(&plain(Some(align)), Direction::Save, || Ok(XFS_MAGIC)).unwrap();
        assert_eq!(save, possible(4096, 4096));
    }

    /// F2FS on zoned storage says so of writes; EROFS before Linux 6.11 says nothing.
    #[test]
    fn no_direct_writes_or_no_answer_leave_reads_to_a_trial() {
        for (align, said) in [(Some(NO_DIRECT_IO), "reports no"), (None, "does not tell")] {
            for encrypted in [false, true] {
                let attributes = FileAttributes { encrypted, ..plain(align) };
                let Answer::TryReads(trial) = load(&attributes, F2FS_MAGIC) else {
                    panic!("{attributes:?}");
                };
                assert!(trial.unknown.contains(said), "{}", trial.unknown);
                assert_eq!(trial.unknown.contains("encrypted"), encrypted);
                assert_eq!(trial.align_bytes, 4096);
                let save = direct_io(&attributes, Direction::Save, || Ok(F2FS_MAGIC)).unwrap();
                assert!(why_not(save).contains(said));
            }
            for (special, word) in [
                (FileAttributes { compressed: true, ..plain(align) }, "compressed"),
                (FileAttributes { verity: true, ..plain(align) }, "fs-verity"),
            ] {
                assert!(why_not(load(&special, F2FS_MAGIC)).contains(word));
            }
        }
    }

    #[test]
    fn a_trial_reads_whole_blocks() {
        for (block_bytes, align_bytes) in [
            (16 << 10, 16 << 10),
            (4096, 4096),
            (512, 4096),
            (0, 4096),
            (3000, 4096),
            (1 << 30, 4096),
        ] {
            let attributes = FileAttributes { block_bytes, allocated_sectors: 0, ..plain(None) };
            let Answer::TryReads(trial) = load(&attributes, F2FS_MAGIC) else { panic!() };
            assert_eq!(trial.align_bytes, align_bytes, "{block_bytes}");
        }
    }
}
