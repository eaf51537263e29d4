// SPDX-License-Identifier: Apache-2.0
//! What an engine knows of the file systems that clients' files lie on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use dmabuf_uapi::file_attributes::{cached_file_attributes, file_system_magic, MountOf};
use dmabuf_uapi::mapping::{Append, Mapping};
use dmabuf_uapi::{memfd, page_size_bytes};
use rustix::fs::{fcntl_get_seals, FileType};

use super::closer::{Closer, UnclosedFiles};
use super::direct_reads::DirectReads;
use super::file_systems::{has_no_server, has_no_storage, FileSystems};
use super::mounts::Mounts;
use crate::error::{Argument, EngineError, Result};

/// Shared by all requests of an engine.
#[derive(Debug)]
pub(crate) struct KnownFileSystems {
    /// `None`: any.
    listed: Option<Listed>,
    closer: Closer,
    pub(super) direct_reads: DirectReads,
    /// Whether the kernel writes at an offset even where a file has `O_APPEND`, if asked to.
    pub(super) ignores_append: bool,
}

#[derive(Debug)]
struct Listed {
    names: Arc<[String]>,
    /// `None` where the kernel's table cannot be opened.
    mounts: Option<Mounts>,
}

/// Whether a call on a file may wait for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// The kernel serves the file alone.
    Without,
    /// There may be one, which is permitted.
    Permitted,
}

impl KnownFileSystems {
    /// Nothing yet, of these.
    pub(crate) fn new(permitted: FileSystems) -> Self {
        let listed = match permitted {
            FileSystems::Any => None,
            FileSystems::Only(names) => {
                let mounts = Mounts::watch();
                let mounts = mounts.inspect_err(|error| log::error!("mounts: {error}")).ok();
                Some(Listed { names, mounts })
            }
        };
        Self {
            listed,
            closer: Closer::default(),
            direct_reads: DirectReads::default(),
            ignores_append: ignores_append().unwrap_or(false),
        }
    }

    /// Checks, without asking a server, that a file lies on a permitted file system.
    ///
    /// # Errors
    /// [`EngineError::FileSystem`] or [`EngineError::UnsupportedFile`], naming `argument`.
    pub(super) fn check(
        &self,
        fd: BorrowedFd<'_>,
        place: MountOf,
        argument: Argument,
    ) -> Result<Server> {
        let Some(listed) = &self.listed else {
            return if file_system_magic(fd).is_ok_and(has_no_storage) {
                let (found, expected) = ("a file without storage", "a regular file on storage");
                Err(EngineError::UnsupportedFile { argument, found, expected })
            } else {
                Ok(Server::Permitted)
            };
        };
        listed.check(fd, place).map_err(|found| EngineError::FileSystem {
            argument,
            found,
            expected: listed.names.join(", "),
        })
    }

    /// Closes an fd that no check has passed.
    pub(super) fn close_unchecked(&self, fd: OwnedFd) {
        let closes_at_once = match &self.listed {
            None => true,
            Some(listed) => cached_file_attributes(&fd).is_ok_and(|attributes| {
                // Sockets and devices may linger, wherever they lie.
                let kind = FileType::from_raw_mode(attributes.mode.into());
                matches!(kind, FileType::RegularFile | FileType::Directory)
                    && listed.check(fd.as_fd(), attributes.mount).is_ok()
            }),
        };
        if closes_at_once {
            drop(fd);
        } else {
            self.closer.close(fd);
        }
    }

    /// The files that are not closed yet.
    pub(crate) fn unclosed(&self) -> UnclosedFiles {
        self.closer.unclosed()
    }
}

/// Tries a write with `RWF_NOAPPEND`, which Linux has from 6.9 on.
fn ignores_append() -> dmabuf_uapi::Result<bool> {
    let page_bytes = page_size_bytes();
    let file = memfd::create_sealed(c"append-probe", page_bytes as u64)?;
    let memory = Mapping::anonymous(page_bytes)?;
    Ok(memory.pwrite_as(0..1, &file, 0, Append::Ignored).is_ok())
}

impl Listed {
    /// `Err` with what the file system is.
    fn check(&self, fd: BorrowedFd<'_>, place: MountOf) -> std::result::Result<Server, String> {
        let name = self.mounts.as_ref().and_then(|mounts| mounts.type_of(place));
        match name {
            Some(name) if has_no_server(&name) => Ok(Server::Without),
            Some(name) if self.names.iter().any(|listed| **listed == *name) => {
                Ok(Server::Permitted)
            }
            Some(name) => Err(format!("of type {name}")),
            // The kernel mounts memfds where no process sees it; nothing else has seals.
            None if fcntl_get_seals(fd).is_ok() => Ok(Server::Without),
            None => Err("that this process does not see mounted".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use dmabuf_uapi::file_attributes::mount_of;

    use super::*;

    fn check(permitted: FileSystems, fd: impl AsFd) -> Result<Server> {
        let place = mount_of(&fd).unwrap();
        KnownFileSystems::new(permitted).check(fd.as_fd(), place, Argument::File(3))
    }

    #[test]
    fn a_file_system_that_is_not_listed_is_named() {
        let file = File::open("/proc/self/status").unwrap();
        let permitted = FileSystems::without_server_and(["fuse".to_owned()]);
        let error = check(permitted, &file).unwrap_err().to_string();
        let expected = "file 3: is on a file system of type proc, expected one of f2fs, ext4, ";
        assert!(error.starts_with(expected) && error.ends_with(", fuse"), "{error}");
        let listed = FileSystems::without_server_and(["proc".to_owned()]);
        assert_eq!(check(listed, &file), Ok(Server::Permitted));
    }

    #[test]
    fn a_file_without_storage_is_refused_wherever_it_lies() {
        let status = File::open("/proc/self/status").unwrap();
        let error = check(FileSystems::Any, &status).unwrap_err();
        assert!(error.to_string().contains("is a file without storage"), "{error}");
        let listed = FileSystems::without_server_and([]);
        assert!(check(listed, &status).unwrap_err().to_string().contains("proc"));
        let program = File::open("/proc/self/exe").unwrap();
        assert_eq!(check(FileSystems::Any, program), Ok(Server::Permitted));
    }

    #[test]
    fn a_memfd_needs_no_mount() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"f", 4096).unwrap();
        assert_eq!(check(FileSystems::without_server_and([]), &memfd), Ok(Server::Without));
    }

    #[test]
    fn what_lies_on_no_mount_is_refused() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let error = check(FileSystems::without_server_and([]), &reader).unwrap_err().to_string();
        assert!(error.contains("that this process does not see mounted"), "{error}");
    }
}
