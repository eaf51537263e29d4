// SPDX-License-Identifier: Apache-2.0
//! What an open file allows: its kind, its size, and whether direct I/O on it is direct.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use dmabuf_uapi::file_attributes::{file_attributes, file_system_magic, FileAttributes};
use dmabuf_uapi::Result as KernelResult;
use rustix::fs::{fcntl_getfl, fstat, open, FileType, Mode, OFlags};

use crate::error::{errno_text, EngineError, Result};
use crate::path::{Direction, Words};

/// The alignment assumed where a kernel older than 6.1 does not report one: the block size of Android's file systems.
const FALLBACK_ALIGN_BYTES: u32 = 4096;

const F2FS_MAGIC: u64 = 0xf2f5_2010;
const EXT4_MAGIC: u64 = 0xef53;
const XFS_MAGIC: u64 = 0x5846_5342;

/// File systems that do direct I/O on ordinary files: F2FS, ext4, XFS. Asked only where `statx` does not tell.
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
    /// The file system would not do it on this file, or only seem to.
    NotOnThisFile(Words),
    /// The file system would, but the fd is opened without `O_DIRECT` and cannot be reopened.
    OpenedBuffered(Words),
    /// The same, and what is asked of the file does not pay for reopening it.
    ReopeningCostsMore,
}

/// What the planner needs to know of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Size in bytes when the request arrived. Only a hint: the file may change.
    pub size_bytes: u64,
    /// Whether there is an fd without `O_DIRECT`.
    pub has_buffered_fd: bool,
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
}

/// What a request would use, so that nothing is reopened in vain.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// A path that can be direct is possible for this buffer.
    pub direct: bool,
    /// A way through the page cache will do, and so few bytes are to be moved that it costs less than to open a file again.
    pub few_bytes: bool,
    /// Ranges of the file are not multiples of its alignment and are to be written.
    pub unaligned_writes: bool,
}

/// A client's file, with a second open file description where that helps. Never moves the client's file position and
/// never changes its flags.
#[derive(Debug)]
pub struct OpenFile<'fd> {
    passed: BorrowedFd<'fd>,
    passed_is_direct: bool,
    reopened: Option<OwnedFd>,
    direction: Direction,
    attributes: FileAttributes,
    facts: FileFacts,
}

impl<'fd> OpenFile<'fd> {
    /// Checks that `fd` is a regular file in a mode that permits the direction.
    ///
    /// # Errors
    /// [`EngineError::BadFd`] or [`EngineError::UnsupportedFile`], with the name that `argument` gives.
    pub fn inspect(
        fd: BorrowedFd<'fd>,
        argument: impl Fn() -> String,
        direction: Direction,
    ) -> Result<Self> {
        let flags = fcntl_getfl(fd).map_err(|e| EngineError::bad_fd(argument(), errno_text(e)))?;
        if flags.contains(OFlags::PATH) {
            return Err(EngineError::bad_fd(argument(), "is an O_PATH fd, expected an open file"));
        }
        let attributes = file_attributes(fd)
            .map_err(|errno| EngineError::io(format!("{}: statx", argument()), errno))?;
        if FileType::from_raw_mode(attributes.mode.into()) != FileType::RegularFile {
            return Err(EngineError::UnsupportedFile {
                argument: argument(),
                found: describe_kind(fd),
                expected: "a regular file",
            });
        }
        let mode = flags & OFlags::RWMODE;
        match direction {
            Direction::Load if mode == OFlags::WRONLY => {
                return Err(EngineError::bad_fd(argument(), "is not open for reading"));
            }
            Direction::Save if mode == OFlags::RDONLY => {
                return Err(EngineError::bad_fd(argument(), "is not open for writing"));
            }
            Direction::Save if flags.contains(OFlags::APPEND) => {
                return Err(EngineError::bad_fd(
                    argument(),
                    "is open with O_APPEND, which ignores file offsets",
                ));
            }
            _ => {}
        }
        let passed_is_direct = flags.contains(OFlags::DIRECT);
        let facts = FileFacts {
            size_bytes: attributes.size_bytes,
            has_buffered_fd: !passed_is_direct,
            direct: direct_io(&attributes, || file_system_magic(fd))
                .map_err(|errno| EngineError::io(format!("{}: fstatfs", argument()), errno))?,
        };
        Ok(Self { passed: fd, passed_is_direct, reopened: None, direction, attributes, facts })
    }

    /// Opens the file a second time, with or without `O_DIRECT`, where the request needs it and permissions allow.
    pub fn prepare(&mut self, needs: Needs) {
        let direct_is_possible = matches!(self.facts.direct, DirectIo::Possible { .. });
        if self.passed_is_direct {
            if !direct_is_possible || needs.unaligned_writes {
                self.reopened = self.reopen(OFlags::empty()).ok();
                self.facts.has_buffered_fd = self.reopened.is_some();
            }
        } else if direct_is_possible && needs.few_bytes {
            self.facts.direct = DirectIo::ReopeningCostsMore;
        } else if direct_is_possible && needs.direct {
            match self.reopen(OFlags::DIRECT) {
                Ok(fd) => self.reopened = Some(fd),
                Err(detail) => {
                    self.facts.direct = DirectIo::OpenedBuffered(Words::from(format!(
                        "the file is opened without O_DIRECT and cannot be reopened with it: {detail}"
                    )));
                }
            }
        }
    }

    fn reopen(&self, extra: OFlags) -> std::result::Result<OwnedFd, String> {
        let mode = match self.direction {
            Direction::Load => OFlags::RDONLY,
            Direction::Save => OFlags::WRONLY,
        };
        let path = format!("/proc/self/fd/{}", self.passed.as_raw_fd());
        let fd = open(path, mode | extra | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
            .map_err(errno_text)?;
        let again = file_attributes(&fd).map_err(errno_text)?;
        if (again.device, again.inode) != (self.attributes.device, self.attributes.inode) {
            return Err("reopening yields another file".to_owned());
        }
        Ok(fd)
    }

    /// Whether the kernel checks what is read of the file against a hash tree (fs-verity).
    pub fn has_verity(&self) -> bool {
        self.attributes.verity
    }

    /// What the planner needs to know.
    pub fn facts(&self) -> &FileFacts {
        &self.facts
    }

    /// An fd with `O_DIRECT`.
    pub fn direct_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.passed_is_direct {
            Some(self.passed)
        } else {
            self.reopened.as_ref().map(AsFd::as_fd)
        }
    }

    /// An fd without `O_DIRECT`.
    pub fn buffered_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.passed_is_direct {
            self.reopened.as_ref().map(AsFd::as_fd)
        } else {
            Some(self.passed)
        }
    }

    /// The fd as the client passed it.
    pub fn any_fd(&self) -> BorrowedFd<'_> {
        self.passed
    }
}

/// `magic` gives the type of the file system, which is seldom needed.
fn direct_io(
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
        // Without an answer the kinds of files that some kernels silently read through the page cache count as such.
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

fn not_on_this_file(why: impl Into<Words>) -> DirectIo {
    DirectIo::NotOnThisFile(why.into())
}

/// Whether the data are in the inode, if the file is on F2FS. F2FS allocates blocks of 8 sectors and adds the sectors of
/// inline data to what it reports (`f2fs_getattr`, `fs/f2fs/file.c`); `STATX_DIOALIGN` does not tell, as it is about writes.
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

/// What an fd refers to, with its article, for error messages.
pub fn describe_kind(fd: BorrowedFd<'_>) -> String {
    let Ok(stat) = fstat(fd) else {
        return "not a file".to_owned();
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "an anonymous file",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};

    fn inspect(file: &File, direction: Direction) -> Result<u64> {
        OpenFile::inspect(file.as_fd(), || "files[0]".to_owned(), direction)
            .map(|file| file.facts.size_bytes)
    }

    #[test]
    fn kinds_that_are_no_regular_file_are_named() {
        for (path, found) in [("/", "a directory"), ("/dev/null", "a character device")] {
            let error = inspect(&File::open(path).unwrap(), Direction::Load).unwrap_err();
            let expected = format!("files[0]: is {found}, expected a regular file");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_access_mode_must_fit_the_direction() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let write_only = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let write_only = write_only.unwrap();
        let read_only = File::open(&path).unwrap();
        let append = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(inspect(&read_only, Direction::Load), Ok(0));
        assert_eq!(inspect(&write_only, Direction::Save), Ok(0));
        for (file, direction) in [
            (&write_only, Direction::Load),
            (&read_only, Direction::Save),
            (&append, Direction::Save),
        ] {
            let error = inspect(file, direction).unwrap_err();
            assert!(matches!(error, EngineError::BadFd { .. }), "{error}");
        }
    }

    #[test]
    fn a_path_only_fd_is_refused() {
        let fd = open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let error =
            OpenFile::inspect(fd.as_fd(), || "files[0]".to_owned(), Direction::Load).unwrap_err();
        assert!(error.to_string().contains("O_PATH"), "{error}");
    }

    #[test]
    fn a_file_with_fs_verity_is_not_direct() {
        let file = File::open("/proc/self/exe").unwrap();
        let align =
            dmabuf_uapi::file_attributes::DirectIoAlign { memory_bytes: 512, offset_bytes: 512 };
        let attributes = FileAttributes {
            allocated_sectors: 8,
            direct_io_align: Some(align),
            verity: true,
            ..file_attributes(&file).unwrap()
        };
        let direct = direct_io(&attributes, || Ok(EXT4_MAGIC)).unwrap();
        assert!(matches!(direct, DirectIo::NotOnThisFile(detail) if detail.contains("fs-verity")));
    }

    #[test]
    fn a_file_in_its_f2fs_inode_is_not_direct() {
        let file = File::open("/proc/self/exe").unwrap();
        let align =
            dmabuf_uapi::file_attributes::DirectIoAlign { memory_bytes: 4096, offset_bytes: 4096 };
        let with = |file_system_magic, allocated_sectors| {
            let attributes = FileAttributes {
                allocated_sectors,
                direct_io_align: Some(align),
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

    #[test]
    fn tmpfs_reports_no_direct_io() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"f", 4096).unwrap();
        let file =
            OpenFile::inspect(memfd.as_fd(), || "files[0]".to_owned(), Direction::Load).unwrap();
        assert!(matches!(file.facts.direct, DirectIo::NotOnThisFile(_)));
    }
}
