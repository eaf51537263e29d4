// SPDX-License-Identifier: Apache-2.0
//! An fd of every kind that a client can get and pass on: what has no path, devices, directories,
//! files of the kernel, files in the wrong mode. Of each, in which places of a request it is right.

use std::fs::{DirBuilder, File};
use std::io::Result;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use dmabuf_uapi::memfd::{create_sealed, create_sealed_hugetlb};
use nix::sys::stat::Mode as NixMode;
use rustix::fs::{fcntl_add_seals, memfd_create, open, MemfdFlags, Mode, OFlags, SealFlags};

use crate::anonymous_fds::Kind;
use crate::sw_sync::Timeline;

/// A place of a request that takes an fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The file that a load reads.
    Source,
    /// The buffer that a load fills.
    Target,
    /// The buffer that a save reads.
    SavedBuffer,
    /// The file that a save writes.
    Output,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Source, Self::Target, Self::SavedBuffer, Self::Output];
}

/// A kind of fd.
#[derive(Debug)]
pub struct FdKind {
    /// What it is.
    pub name: String,
    how: How,
    /// Part of the SELinux denial where it may be neither made nor passed on.
    pub denial: &'static str,
    /// Where it is right.
    right: &'static [Role],
}

#[derive(Clone, Copy, Debug)]
enum How {
    Anonymous(Kind),
    /// Of a path, read-only.
    Path(&'static str),
    /// Given a directory.
    Make(fn(&Path) -> Result<OwnedFd>),
}

impl FdKind {
    /// Opens an fd of the kind. Files are made in `directory`.
    ///
    /// # Errors
    /// Where the kernel or the device lacks the kind, or the process may not have it.
    pub fn open(&self, directory: &Path) -> Result<OwnedFd> {
        match self.how {
            How::Anonymous(kind) => Ok(kind.open()?),
            How::Path(path) => Ok(File::open(path)?.into()),
            How::Make(make) => make(directory),
        }
    }

    /// Whether a request with it in this role may succeed.
    pub fn is_right_as(&self, role: Role) -> bool {
        self.right.contains(&role)
    }
}

/// All kinds but dma-bufs, which only a heap makes.
pub fn all() -> Vec<FdKind> {
    let anonymous = Kind::ALL.iter().map(|kind| FdKind {
        name: kind.to_string(),
        how: How::Anonymous(*kind),
        denial: kind.denial(),
        // By its mode a memfd is a regular file, and so is a pidfd on some kernels.
        right: match kind {
            Kind::Memfd | Kind::SecretMemfd | Kind::Pidfd => FILE_ROLES,
            _ => &[],
        },
    });
    let paths = PATHS.iter().map(|(path, denial)| FdKind {
        name: (*path).to_owned(),
        how: How::Path(path),
        denial,
        right: &[],
    });
    let made = MADE.iter().map(|(name, make, denial, right)| FdKind {
        name: (*name).to_owned(),
        how: How::Make(*make),
        denial,
        right,
    });
    anonymous.chain(paths).chain(made).collect()
}

const FILE_ROLES: &[Role] = &[Role::Source, Role::Output];

/// Paths of Android, where `/dev` has no `/dev/full`, and what a denial of each contains.
const PATHS: &[(&str, &str)] = &[
    ("/dev/null", "tclass=chr_file"),
    ("/dev/zero", "tclass=chr_file"),
    ("/dev/urandom", "tclass=chr_file"),
    ("/dev/ptmx", "tclass=chr_file"),
    ("/dev/binder", "tclass=chr_file"),
    ("/dev/dma_heap/system", "tclass=chr_file"),
    ("/dev/udmabuf", "tclass=chr_file"),
    ("/dev/kmsg", "tclass=chr_file"),
    ("/dev/fuse", "tclass=chr_file"),
    ("/dev/block/loop0", "tclass=blk_file"),
    ("/proc", "dev=\"proc\""),
    ("/proc/self/status", "dev=\"proc\""),
    ("/proc/self/environ", "dev=\"proc\""),
    ("/proc/self/mem", "dev=\"proc\""),
    ("/proc/self/fdinfo", "dev=\"proc\""),
    ("/proc/self/ns/mnt", "dev=\"nsfs\""),
    ("/proc/self/ns/net", "dev=\"nsfs\""),
    ("/sys", "dev=\"sysfs\""),
    ("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "dev=\"sysfs\""),
    ("/sys/fs/cgroup/cgroup.procs", "dev=\"cgroup"),
    ("/sys/fs/selinux/enforce", "dev=\"selinuxfs\""),
    ("/sys/kernel/debug/sync/info", "dev=\"debugfs\""),
];

type Made = (&'static str, fn(&Path) -> Result<OwnedFd>, &'static str, &'static [Role]);

const MADE: &[Made] = &[
    ("the writing end of a pipe", pipe_writer, "tclass=fifo_file", &[]),
    ("a datagram socket", |_| Ok(UnixDatagram::unbound()?.into()), "_socket", &[]),
    ("a UDP socket", |_| Ok(UdpSocket::bind("127.0.0.1:0")?.into()), "_socket", &[]),
    ("a TCP socket", |_| Ok(TcpListener::bind("127.0.0.1:0")?.into()), "_socket", &[]),
    ("a FIFO", fifo, "tclass=fifo_file", &[]),
    ("a directory", |directory| Ok(File::open(directory)?.into()), "tclass=dir", &[]),
    ("an O_PATH fd of a file", |directory| by_path(&file(directory)?), "", &[]),
    ("an O_PATH fd of a directory", |directory| by_path(directory), "", &[]),
    ("an O_PATH fd of a link", link, "tclass=lnk_file", &[]),
    ("a file for reading", |directory| open_file(directory, OFlags::RDONLY), "", &[Role::Source]),
    ("a file for writing", |directory| open_file(directory, OFlags::WRONLY), "", &[Role::Output]),
    ("a file for appending", appending, "", &[Role::Source]),
    ("a file for both", |directory| open_file(directory, OFlags::RDWR), "", FILE_ROLES),
    ("a memfd of a fixed size", |_| Ok(create_sealed(c"test", 8192)?), "dev=\"tmpfs\"", FILE_ROLES),
    ("a memfd sealed for reading", read_only_memfd, "dev=\"tmpfs\"", FILE_ROLES),
    ("a memfd that can shrink", growing_memfd, "dev=\"tmpfs\"", FILE_ROLES),
    ("a memfd of huge pages", huge_memfd, "dev=\"hugetlbfs\"", FILE_ROLES),
    ("a sync_file", |_| Ok(Timeline::create()?.create_fence(1)?), "debugfs", &[]),
];

fn pipe_writer(_: &Path) -> Result<OwnedFd> {
    Ok(nix::unistd::pipe()?.1)
}

fn fifo(directory: &Path) -> Result<OwnedFd> {
    let path = directory.join("fifo");
    let _ = std::fs::remove_file(&path);
    nix::unistd::mkfifo(&path, NixMode::from_bits_truncate(0o600))?;
    Ok(open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// A file of two pages; made anew, so that a request that writes it is the only one.
fn file(directory: &Path) -> Result<std::path::PathBuf> {
    let path = directory.join("file");
    std::fs::write(&path, [0x5a; 8192])?;
    Ok(path)
}

fn open_file(directory: &Path, flags: OFlags) -> Result<OwnedFd> {
    Ok(open(file(directory)?, flags | OFlags::CLOEXEC, Mode::empty())?)
}

fn appending(directory: &Path) -> Result<OwnedFd> {
    open_file(directory, OFlags::RDWR | OFlags::APPEND)
}

fn by_path(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

fn link(directory: &Path) -> Result<OwnedFd> {
    let inner = directory.join("links");
    DirBuilder::new().recursive(true).create(&inner)?;
    let path = inner.join("link");
    let _ = std::fs::remove_file(&path);
    symlink("target", &path)?;
    by_path(&path)
}

fn read_only_memfd(_: &Path) -> Result<OwnedFd> {
    let memfd = growing_memfd(Path::new(""))?;
    fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::WRITE)?;
    Ok(memfd)
}

fn growing_memfd(_: &Path) -> Result<OwnedFd> {
    let memfd = memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(memfd.as_fd(), 8192)?;
    Ok(memfd)
}

/// It takes no page of the pool before somebody maps it.
fn huge_memfd(_: &Path) -> Result<OwnedFd> {
    Ok(create_sealed_hugetlb(c"test", dmabuf_uapi::mapping::HUGE_PAGE_BYTES as u64)?)
}

#[cfg(test)]
mod tests {
    use dmabuf_uapi::dma_buf::size_if_dma_buf;

    use super::*;

    #[test]
    fn there_are_forty_kinds_and_none_is_a_dma_buf() {
        let directory = tempfile::tempdir().unwrap();
        let kinds = all();
        let mut opened = 0;
        for kind in &kinds {
            match kind.open(directory.path()) {
                Ok(fd) => {
                    assert_eq!(size_if_dma_buf(&fd), Ok(None), "{kind:?}");
                    opened += 1;
                }
                Err(error) => println!("{}: {error}", kind.name),
            }
        }
        assert!(kinds.len() >= 52, "{}", kinds.len());
        assert!(opened >= 30, "{opened}");
    }
}
