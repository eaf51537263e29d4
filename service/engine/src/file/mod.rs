// SPDX-License-Identifier: Apache-2.0
//! What an open file allows: its kind, its mode, its size, direct I/O and fs-verity.

mod client_fd;
mod closer;
mod direct_io;
mod direct_reads;
mod file_systems;
pub mod fs_verity;
mod kind;
mod known;
mod mounts;
mod storage_reads;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use dmabuf_uapi::file_attributes::{
    cached_file_attributes, file_attributes, file_system_magic, mount_of, FileAttributes,
};
use dmabuf_uapi::mapping::Append;
use dmabuf_uapi::Errno;
use rustix::fs::{fcntl_getfl, open, FileType, Mode, OFlags};

use crate::error::{errno_text, Argument, EngineError, Result};
use crate::io_path::{Detail, Direction};
use direct_io::{Answer, Trial};
use direct_reads::{try_reading, Shown};
use known::Server;

pub(crate) use client_fd::ClientFd;
pub use closer::UnclosedFiles;
pub use direct_io::{DirectIo, FileFacts};
pub use file_systems::FileSystems;
pub(crate) use kind::describe_kind;
pub(crate) use known::KnownFileSystems;

/// What a request would use, so that nothing is reopened in vain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// The policy permits a path that reads or writes the file directly.
    pub(crate) direct: bool,
    /// The page cache will do, and so few bytes are to be moved that reopening costs more.
    pub(crate) few_bytes: bool,
    /// Ranges that are not multiples of the file's alignment are to be written.
    pub(crate) unaligned_writes: bool,
}

/// A client's file, with a second open file description where that helps. It never moves the
/// client's file position and never changes its flags.
#[derive(Debug)]
pub(crate) struct OpenFile {
    passed: ClientFd,
    passed_is_direct: bool,
    /// In the other mode than `passed`.
    reopened: Option<OwnedFd>,
    /// In the mode of `passed`, for a save where the client could set `O_APPEND` meanwhile.
    own: Option<OwnedFd>,
    direction: Direction,
    attributes: FileAttributes,
    facts: FileFacts,
    /// What would show whether reads are direct, until it is known.
    trial: Option<Trial>,
}

/// Why a file is not opened a second time.
#[derive(Debug)]
enum NotReopened {
    Errno(Errno),
    OtherFile,
}

impl std::fmt::Display for NotReopened {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Errno(Errno::WOULDBLOCK) => {
                formatter.write_str("a process holds a lease on the file")
            }
            Self::Errno(errno) => formatter.write_str(&errno_text(*errno)),
            Self::OtherFile => formatter.write_str("reopening yields another file"),
        }
    }
}

impl OpenFile {
    /// Checks that `fd` is a regular file of a permitted file system, in a mode that permits the
    /// direction. Before that is known of the file system, nothing asks its server.
    ///
    /// # Errors
    /// [`EngineError::BadFd`], [`EngineError::UnsupportedFile`], [`EngineError::FileSystem`] or
    /// [`EngineError::Inspect`], naming the file by its index.
    pub(crate) fn inspect(mut fd: ClientFd, index: usize, direction: Direction) -> Result<Self> {
        let argument = Argument::File(index);
        let flags =
            fcntl_getfl(&fd).map_err(|errno| EngineError::bad_fd(argument, errno_text(errno)))?;
        if flags.contains(OFlags::PATH) {
            return Err(EngineError::bad_fd(argument, "is an O_PATH fd, expected an open file"));
        }
        let attributes = inspect_attributes(&fd, argument)?;
        fd.closes_at_once();
        check_mode(flags, argument, direction)?;
        let passed_is_direct = flags.contains(OFlags::DIRECT);
        let answer = direct_io::direct_io(&attributes, direction, || file_system_magic(&fd))
            .map_err(|errno| EngineError::inspect(argument, "fstatfs", errno))?;
        let (direct, trial) = match answer {
            Answer::Known(direct) => (direct, None),
            Answer::TryReads(trial) => {
                (DirectIo::NotOnThisFile(trial.unknown.clone()), Some(trial))
            }
        };
        let facts = FileFacts {
            size_bytes: attributes.size_bytes,
            has_buffered_fd: !passed_is_direct,
            is_sparse: attributes.allocated_sectors.saturating_mul(512) < attributes.size_bytes,
            direct,
        };
        Ok(Self {
            passed: fd,
            passed_is_direct,
            reopened: None,
            own: None,
            direction,
            attributes,
            facts,
            trial,
        })
    }

    /// Opens the file a second time, with or without `O_DIRECT`, where the request needs it and
    /// permissions allow.
    pub(crate) fn reopen_for(&mut self, needs: Needs) {
        if let Some(trial) = self.trial.take() {
            self.find_out_by_trying(&trial, needs);
        }
        let direct_is_possible = matches!(self.facts.direct, DirectIo::Possible { .. });
        if self.passed_is_direct {
            if !direct_is_possible || needs.unaligned_writes {
                self.reopened = self.reopen(OFlags::empty()).ok();
                self.facts.has_buffered_fd = self.reopened.is_some();
            }
        } else if direct_is_possible && needs.few_bytes {
            self.facts.direct = DirectIo::ReopeningCostsMore;
        } else if direct_is_possible && needs.direct && self.reopened.is_none() {
            match self.reopen(OFlags::DIRECT) {
                Ok(fd) => self.reopened = Some(fd),
                Err(why) => self.facts.direct = opened_buffered(&why),
            }
        }
        if self.direction == Direction::Save && self.append() == Append::AsOpened {
            let mode = if self.passed_is_direct { OFlags::DIRECT } else { OFlags::empty() };
            self.own = self.reopen(mode).ok();
        }
    }

    /// What writes are told of `O_APPEND`, which a client may set at any time.
    pub(crate) fn append(&self) -> Append {
        if self.passed.known().ignores_append {
            Append::Ignored
        } else {
            Append::AsOpened
        }
    }

    /// Checks after a save that the client has not set `O_APPEND` meanwhile: what was written since
    /// by the client's description may be at the end of the file.
    ///
    /// # Errors
    /// [`EngineError::BadFd`], naming the file by its index.
    pub(crate) fn check_not_appending(&self, index: usize) -> Result<()> {
        let argument = Argument::File(index);
        let flags = fcntl_getfl(&self.passed)
            .map_err(|errno| EngineError::bad_fd(argument, errno_text(errno)))?;
        if !flags.contains(OFlags::APPEND) {
            return Ok(());
        }
        let problem = "has got O_APPEND during the save, which ignores file offsets";
        Err(EngineError::bad_fd(argument, problem))
    }

    /// Finds out whether reads of the file are direct, where the request depends on it: from what
    /// an earlier trial has shown of the file system, else by reading the file.
    fn find_out_by_trying(&mut self, trial: &Trial, needs: Needs) {
        let key = (self.attributes.mount.device, self.attributes.encrypted);
        let shown = match self.passed.known().direct_reads.recall(key) {
            Some(shown) => shown,
            None if !self.passed_is_direct && !needs.direct => return,
            None if !self.passed_is_direct && needs.few_bytes => {
                self.facts.direct = DirectIo::ReopeningCostsMore;
                return;
            }
            None => match self.try_reads(trial) {
                Ok(shown) => {
                    self.passed.known().direct_reads.keep(key, shown.clone());
                    shown
                }
                Err(direct) => {
                    self.facts.direct = direct;
                    return;
                }
            },
        };
        self.facts.direct = match shown {
            Shown::Direct => DirectIo::Possible {
                memory_align_bytes: trial.align_bytes,
                offset_align_bytes: trial.align_bytes,
            },
            Shown::Buffered(why) => {
                self.reopened = None;
                let why = format!("{why}{}", direct_io::cause(&self.attributes));
                DirectIo::NotOnThisFile(why.into())
            }
        };
    }

    /// `Err` with what holds for this file where the trial shows nothing of the file system. What
    /// it opens stays open.
    fn try_reads(&mut self, trial: &Trial) -> std::result::Result<Shown, DirectIo> {
        if !self.passed_is_direct {
            match self.reopen(OFlags::DIRECT) {
                Ok(fd) => self.reopened = Some(fd),
                Err(NotReopened::Errno(Errno::INVAL)) => {
                    let why = "the file system does not open this file with O_DIRECT";
                    return Err(DirectIo::NotOnThisFile(why.into()));
                }
                Err(why) => return Err(opened_buffered(&why)),
            }
        }
        let direct = self.direct_fd().map(|fd| (fd, trial.align_bytes, self.facts.is_sparse));
        let shown = match direct {
            Some((fd, align_bytes, is_sparse)) => try_reading(fd, align_bytes, is_sparse),
            None => Err("there is no fd with O_DIRECT".to_owned()),
        };
        shown.map_err(|why| {
            self.reopened = None;
            DirectIo::NotOnThisFile(
                format!("{}, and a trial shows nothing: {why}", trial.unknown).into(),
            )
        })
    }

    fn reopen(&self, extra: OFlags) -> std::result::Result<OwnedFd, NotReopened> {
        let mode = match self.direction {
            Direction::Load => OFlags::RDONLY,
            Direction::Save => OFlags::WRONLY,
        };
        let path = format!("/proc/self/fd/{}", self.passed.as_fd().as_raw_fd());
        // Without O_NONBLOCK, a lease on the file would block this for
        // /proc/sys/fs/lease-break-time.
        let flags = mode | extra | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let fd = open(path, flags, Mode::empty()).map_err(NotReopened::Errno)?;
        let again = cached_file_attributes(&fd).map_err(NotReopened::Errno)?;
        if identity_of(&again) != self.identity() {
            return Err(NotReopened::OtherFile);
        }
        Ok(fd)
    }

    /// What tells the file from every other one.
    pub(crate) fn identity(&self) -> FileIdentity {
        identity_of(&self.attributes)
    }

    /// Whether the kernel checks what is read of the file against a hash tree (fs-verity).
    pub(crate) fn has_verity(&self) -> bool {
        self.attributes.verity
    }

    /// What the planner needs to know.
    pub(crate) fn facts(&self) -> &FileFacts {
        &self.facts
    }

    /// An fd with `O_DIRECT`.
    pub(crate) fn direct_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.passed_is_direct {
            Some(self.own_or_passed_fd())
        } else {
            self.reopened.as_ref().map(AsFd::as_fd)
        }
    }

    /// An fd without `O_DIRECT`.
    pub(crate) fn buffered_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.passed_is_direct {
            self.reopened.as_ref().map(AsFd::as_fd)
        } else {
            Some(self.own_or_passed_fd())
        }
    }

    /// An fd in the mode of the client's.
    pub(crate) fn own_or_passed_fd(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(self.passed.as_fd(), AsFd::as_fd)
    }

    /// The fd as the client passed it.
    pub(crate) fn passed_fd(&self) -> BorrowedFd<'_> {
        self.passed.as_fd()
    }
}

/// Device number and inode number.
pub(crate) type FileIdentity = ((u32, u32), u64);

fn identity_of(attributes: &FileAttributes) -> FileIdentity {
    (attributes.mount.device, attributes.inode)
}

/// The attributes of a regular file of a permitted file system.
fn inspect_attributes(fd: &ClientFd, argument: Argument) -> Result<FileAttributes> {
    let check_place = |place| fd.known().check(fd.as_fd(), place, argument);
    let statx_failed = |errno| EngineError::inspect(argument, "statx", errno);
    let cached = match cached_file_attributes(fd) {
        Ok(attributes) => attributes,
        Err(errno) => {
            // FUSE says nothing else of another user's mount.
            check_place(mount_of(fd).map_err(statx_failed)?)?;
            return Err(statx_failed(errno));
        }
    };
    if FileType::from_raw_mode(cached.mode.into()) != FileType::RegularFile {
        let (found, expected) = (describe_kind(fd.as_fd()), "a regular file");
        return Err(EngineError::UnsupportedFile { argument, found, expected });
    }
    match check_place(cached.mount)? {
        Server::Without => Ok(cached),
        Server::Permitted => file_attributes(fd).map_err(statx_failed),
    }
}

fn opened_buffered(why: &NotReopened) -> DirectIo {
    let detail = format!("the file is open without O_DIRECT and cannot be reopened with it: {why}");
    DirectIo::OpenedBuffered(Detail::from(detail))
}

fn check_mode(flags: OFlags, argument: Argument, direction: Direction) -> Result<()> {
    let mode = flags & OFlags::RWMODE;
    let problem = match direction {
        Direction::Load if mode == OFlags::WRONLY => "is not open for reading",
        Direction::Save if mode == OFlags::RDONLY => "is not open for writing",
        Direction::Save if flags.contains(OFlags::APPEND) => {
            "is open with O_APPEND, which ignores file offsets"
        }
        _ => return Ok(()),
    };
    Err(EngineError::bad_fd(argument, problem))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::sync::Arc;

    use rustix::fs::fcntl_setfl;

    use super::*;

    fn inspect(fd: impl AsFd, direction: Direction) -> Result<OpenFile> {
        OpenFile::inspect(fd.as_fd().try_clone_to_owned().unwrap().into(), 0, direction)
    }

    #[test]
    fn kinds_other_than_regular_files_are_named() {
        for (path, found) in [("/", "a directory"), ("/dev/null", "a character device")] {
            let error = inspect(File::open(path).unwrap(), Direction::Load).unwrap_err();
            let (argument, expected) = (Argument::File(0), "a regular file");
            assert_eq!(error, EngineError::UnsupportedFile { argument, found, expected });
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
        assert_eq!(inspect(&read_only, Direction::Load).unwrap().facts().size_bytes, 0);
        assert!(inspect(&write_only, Direction::Save).is_ok());
        for (file, direction) in [
            (&write_only, Direction::Load),
            (&read_only, Direction::Save),
            (&append, Direction::Save),
        ] {
            let error = inspect(file, direction).unwrap_err();
            assert!(matches!(error, EngineError::BadFd { .. }), "{error}");
        }
    }

    const DIRECT: Needs = Needs { direct: true, few_bytes: false, unaligned_writes: false };

    /// A file on storage, as if the kernel did not tell whether reads of it are direct.
    fn untold(known: &Arc<KnownFileSystems>) -> OpenFile {
        let program = std::env::current_exe().unwrap();
        let file = tempfile::tempfile_in(program.parent().unwrap()).unwrap();
        rustix::io::pwrite(&file, &[7; 8192], 0).unwrap();
        file.sync_all().unwrap();
        let mut file =
            OpenFile::inspect(ClientFd::new(file.into(), known), 0, Direction::Load).unwrap();
        file.trial = Some(Trial { align_bytes: 4096, unknown: "untold".into() });
        file
    }

    #[test]
    fn a_file_system_is_tried_once_and_by_few_bytes_never() {
        let known = Arc::new(KnownFileSystems::new(FileSystems::Any));
        let mut few = untold(&known);
        few.reopen_for(Needs { few_bytes: true, ..DIRECT });
        assert_eq!(few.facts.direct, DirectIo::ReopeningCostsMore);
        let mut first = untold(&known);
        let reports_direct_io = matches!(first.facts.direct, DirectIo::Possible { .. });
        let key = (first.attributes.mount.device, first.attributes.encrypted);
        assert_eq!(known.direct_reads.recall(key), None);
        first.reopen_for(DIRECT);
        if !reports_direct_io {
            return;
        }
        assert_eq!(known.direct_reads.recall(key), Some(Shown::Direct));
        assert!(first.direct_fd().is_some());
        known.direct_reads.keep(key, Shown::Buffered("shown before".into()));
        let mut second = untold(&known);
        second.reopen_for(DIRECT);
        assert_eq!(second.facts.direct, DirectIo::NotOnThisFile("shown before".into()));
        assert!(second.direct_fd().is_none());
    }

    /// A kernel before Linux 6.9 cannot be told to ignore `O_APPEND`.
    #[test]
    fn a_save_writes_by_its_own_description_on_old_kernels() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open_file = |ignores_append| {
            let mut known = KnownFileSystems::new(FileSystems::Any);
            known.ignores_append = ignores_append;
            let fd = OpenOptions::new().write(true).open(&file).unwrap();
            let fd = ClientFd::new(fd.into(), &Arc::new(known));
            let mut opened = OpenFile::inspect(fd, 3, Direction::Save).unwrap();
            opened.reopen_for(Needs { direct: false, few_bytes: false, unaligned_writes: false });
            opened
        };
        let append = |fd: BorrowedFd<'_>| fcntl_getfl(fd).unwrap().contains(OFlags::APPEND);
        for ignores_append in [false, true] {
            let opened = open_file(ignores_append);
            assert_eq!(opened.check_not_appending(3), Ok(()));
            fcntl_setfl(&opened.passed, OFlags::APPEND).unwrap();
            let written = opened.buffered_fd().unwrap();
            assert_eq!(append(written), ignores_append, "the client's description is used");
            let error = opened.check_not_appending(3).unwrap_err();
            assert!(matches!(error, EngineError::BadFd { argument: Argument::File(3), .. }));
        }
    }

    #[test]
    fn a_path_only_fd_is_refused() {
        let fd = open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let error = inspect(&fd, Direction::Load).unwrap_err();
        assert!(error.to_string().contains("O_PATH"), "{error}");
    }

    #[test]
    fn a_file_with_a_hole_is_sparse() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        assert!(inspect(&file, Direction::Load).unwrap().facts().is_sparse);
    }

    #[test]
    fn tmpfs_reports_no_direct_io() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"f", 4096).unwrap();
        let file = inspect(&memfd, Direction::Load).unwrap();
        assert!(matches!(file.facts.direct, DirectIo::NotOnThisFile(_)));
    }
}
