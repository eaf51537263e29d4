// SPDX-License-Identifier: Apache-2.0
//! Makes an fd of each kind that has no path: what a client may pass where a dma-buf is expected.
//!
//! Source: the man page of each system call; `include/uapi/linux` of Linux 6.12.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::fcntl::OFlag;
use rustix::event::{epoll, eventfd, EventfdFlags};
use rustix::fs::{inotify, memfd_create, MemfdFlags};
use rustix::io::{Errno, Result};

use crate::{from_nix, opened};

// Not in the libc crate for Android.
const FAN_CLOEXEC: libc::c_uint = 0x1;
/// Makes a group that needs no privilege, since Linux 5.13.
const FAN_REPORT_FID: libc::c_uint = 0x200;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// The same number on every architecture.
const SYS_MEMFD_SECRET: libc::c_long = 447;

// Defined in no crate.
const UFFD_USER_MODE_ONLY: libc::c_int = 1;
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_ATTR_SIZE_VER0: u32 = 64;
const LANDLOCK_ACCESS_FS_EXECUTE: u64 = 1;

/// A kind of fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `epoll_create1(2)`.
    Epoll,
    /// `eventfd(2)`.
    Eventfd,
    /// `timerfd_create(2)`.
    Timerfd,
    /// `signalfd(2)`.
    Signalfd,
    /// `inotify_init1(2)`.
    Inotify,
    /// `fanotify_init(2)`.
    Fanotify,
    /// `io_uring_setup(2)`.
    IoUring,
    /// `userfaultfd(2)`.
    Userfaultfd,
    /// `pidfd_open(2)`.
    Pidfd,
    /// `bpf(2)`, `BPF_MAP_CREATE`.
    BpfMap,
    /// `perf_event_open(2)`.
    PerfEvent,
    /// `landlock_create_ruleset(2)`.
    LandlockRuleset,
    /// `memfd_create(2)`.
    Memfd,
    /// `memfd_secret(2)`.
    SecretMemfd,
    /// `pipe(2)`.
    Pipe,
    /// `socketpair(2)`.
    Socket,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 16] = [
        Self::Epoll,
        Self::Eventfd,
        Self::Timerfd,
        Self::Signalfd,
        Self::Inotify,
        Self::Fanotify,
        Self::IoUring,
        Self::Userfaultfd,
        Self::Pidfd,
        Self::BpfMap,
        Self::PerfEvent,
        Self::LandlockRuleset,
        Self::Memfd,
        Self::SecretMemfd,
        Self::Pipe,
        Self::Socket,
    ];

    /// Whether a kernel may lack the kind, or refuse it to an unprivileged process.
    pub fn is_optional(self) -> bool {
        match self {
            Self::Epoll
            | Self::Eventfd
            | Self::Timerfd
            | Self::Signalfd
            | Self::Inotify
            | Self::Pidfd
            | Self::Memfd
            | Self::Pipe
            | Self::Socket => false,
            Self::Fanotify
            | Self::IoUring
            | Self::Userfaultfd
            | Self::BpfMap
            | Self::PerfEvent
            | Self::LandlockRuleset
            | Self::SecretMemfd => true,
        }
    }

    /// Part of the SELinux denial where an fd of the kind may be neither made nor passed on.
    pub fn denial(self) -> &'static str {
        match self {
            Self::Memfd => "dev=\"tmpfs\"",
            Self::BpfMap => "tclass=bpf",
            Self::PerfEvent => "tclass=perf_event",
            Self::Pipe => "tclass=fifo_file",
            Self::Socket => "tclass=unix_stream_socket",
            _ => "tclass=anon_inode",
        }
    }

    /// Opens an fd of the kind.
    ///
    /// # Errors
    /// - `NOSYS`, `INVAL`, `OPNOTSUPP`: the kernel lacks the kind or has it disabled.
    /// - `PERM`, `ACCESS`: the process needs a privilege, or SELinux refuses it.
    /// - `MFILE`, `NFILE`, `NOMEM`.
    pub fn open(self) -> Result<OwnedFd> {
        match self {
            Self::Epoll => epoll::create(epoll::CreateFlags::CLOEXEC),
            Self::Eventfd => eventfd(0, EventfdFlags::CLOEXEC),
            Self::Timerfd => timerfd(),
            Self::Signalfd => signalfd(),
            Self::Inotify => inotify::init(inotify::CreateFlags::CLOEXEC),
            Self::Fanotify => fanotify(),
            Self::IoUring => io_uring(),
            Self::Userfaultfd => userfaultfd(),
            Self::Pidfd => pidfd(),
            Self::BpfMap => bpf_map(),
            Self::PerfEvent => perf_event(),
            Self::LandlockRuleset => landlock_ruleset(),
            Self::Memfd => memfd_create(c"test", MemfdFlags::CLOEXEC),
            Self::SecretMemfd => secret_memfd(),
            Self::Pipe => pipe(),
            Self::Socket => socket(),
        }
    }
}

fn timerfd() -> Result<OwnedFd> {
    // SAFETY: the call takes numbers only and returns a new fd.
    unsafe {
        opened(libc::syscall(libc::SYS_timerfd_create, libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC))
    }
}

fn signalfd() -> Result<OwnedFd> {
    let no_signals: u64 = 0;
    // SAFETY: the call reads one kernel sigset of 8 bytes, which lives across it, and returns a new
    // fd.
    unsafe {
        opened(libc::syscall(
            libc::SYS_signalfd4,
            -1,
            &raw const no_signals,
            size_of::<u64>(),
            libc::SFD_CLOEXEC,
        ))
    }
}

fn fanotify() -> Result<OwnedFd> {
    let flags = FAN_CLOEXEC | FAN_REPORT_FID;
    // SAFETY: the call takes numbers only and returns a new fd.
    unsafe { opened(libc::syscall(libc::SYS_fanotify_init, flags, libc::O_RDONLY)) }
}

fn io_uring() -> Result<OwnedFd> {
    // `struct io_uring_params`, 120 bytes.
    let mut params = [0_u64; 15];
    // SAFETY: the call reads and writes one `struct io_uring_params`, exclusively borrowed, and
    // returns a new fd.
    unsafe { opened(libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr())) }
}

fn userfaultfd() -> Result<OwnedFd> {
    let flags = libc::O_CLOEXEC | UFFD_USER_MODE_ONLY;
    // SAFETY: the call takes numbers only and returns a new fd.
    unsafe { opened(libc::syscall(libc::SYS_userfaultfd, flags)) }
}

fn pidfd() -> Result<OwnedFd> {
    // SAFETY: the call takes numbers only and returns a new fd.
    unsafe { opened(libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0)) }
}

fn bpf_map() -> Result<OwnedFd> {
    // The head of `union bpf_attr`: map_type, key_size, value_size, max_entries.
    let attributes: [u32; 4] = [BPF_MAP_TYPE_ARRAY, 4, 4, 1];
    // SAFETY: the call reads as many bytes of `union bpf_attr` as it is told, which live across it,
    // and returns a new fd.
    unsafe {
        opened(libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_CREATE,
            attributes.as_ptr(),
            size_of_val(&attributes),
        ))
    }
}

fn perf_event() -> Result<OwnedFd> {
    const OWN_PROCESS: libc::pid_t = 0;
    const ANY: libc::c_int = -1;
    // For an event of a task the kernel rewrites the code of its scheduler (the static key
    // perf_sched_events), which QEMU 7.2 with several translated processors gets wrong at times:
    // "Oops: int3". For one of a processor it does not; that needs CAP_PERFMON.
    perf_event_of(ANY, 0).or_else(|_| perf_event_of(OWN_PROCESS, ANY))
}

fn perf_event_of(pid: libc::pid_t, processor: libc::c_int) -> Result<OwnedFd> {
    // `struct perf_event_attr` of its first version; the flags, 40 bytes from its start, exclude
    // the kernel.
    let mut attributes = [0_u32; PERF_ATTR_SIZE_VER0 as usize / size_of::<u32>()];
    attributes[0] = PERF_TYPE_SOFTWARE;
    attributes[1] = PERF_ATTR_SIZE_VER0;
    attributes[10] = 1 << 5;
    let no_group: libc::c_int = -1;
    // SAFETY: the call reads one `struct perf_event_attr` of the size that it names, which lives
    // across the call, and returns a new fd.
    unsafe {
        opened(libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            pid,
            processor,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        ))
    }
}

fn landlock_ruleset() -> Result<OwnedFd> {
    // `struct landlock_ruleset_attr` of its first version: handled_access_fs.
    let attributes = LANDLOCK_ACCESS_FS_EXECUTE;
    let flags = 0;
    // SAFETY: the call reads as many bytes as it is told, which live across it, and returns a new
    // fd.
    unsafe {
        opened(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of_val(&attributes),
            flags,
        ))
    }
}

fn pipe() -> Result<OwnedFd> {
    let ends = nix::unistd::pipe2(OFlag::O_CLOEXEC);
    ends.map(|(reader, _)| reader).map_err(from_nix)
}

fn socket() -> Result<OwnedFd> {
    let pair = UnixStream::pair();
    pair.map(|(socket, _)| socket.into())
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn secret_memfd() -> Result<OwnedFd> {
    // SAFETY: the call takes a number only and returns a new fd.
    unsafe { opened(libc::syscall(SYS_MEMFD_SECRET, libc::O_CLOEXEC)) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use dmabuf_uapi::dma_buf::size_if_dma_buf;

    fn expect_not_dma_bufs(kinds: &[Kind]) {
        for kind in kinds {
            match kind.open() {
                Ok(fd) => assert_eq!(size_if_dma_buf(&fd), Ok(None), "{kind}"),
                Err(errno) => assert!(kind.is_optional(), "{kind}: {errno}"),
            }
        }
    }

    #[test]
    fn no_kind_is_a_dma_buf_even_after_an_epoll_fd() {
        let (epoll, others): (Vec<Kind>, Vec<Kind>) =
            Kind::ALL.iter().partition(|kind| **kind == Kind::Epoll);
        expect_not_dma_bufs(&others);
        expect_not_dma_bufs(&epoll);
        expect_not_dma_bufs(&others);
    }

    /// Compares with the link in `/proc/self/fd`.
    #[test]
    fn each_kind_has_its_name_in_proc() {
        let expected = |kind| match kind {
            Kind::Epoll => "anon_inode:[eventpoll]",
            Kind::Eventfd => "anon_inode:[eventfd]",
            Kind::Timerfd => "anon_inode:[timerfd]",
            Kind::Signalfd => "anon_inode:[signalfd]",
            Kind::Inotify => "anon_inode:inotify",
            Kind::Fanotify => "anon_inode:[fanotify]",
            Kind::IoUring => "anon_inode:[io_uring]",
            Kind::Userfaultfd => "anon_inode:[userfaultfd]",
            // Since Linux 6.9 pidfds are in a file system of their own.
            Kind::Pidfd => "pidfd",
            Kind::BpfMap => "anon_inode:bpf-map",
            Kind::PerfEvent => "anon_inode:[perf_event]",
            Kind::LandlockRuleset => "anon_inode:[landlock-ruleset]",
            Kind::Memfd => "/memfd:test",
            Kind::SecretMemfd => "/secretmem",
            Kind::Pipe => "pipe:[",
            Kind::Socket => "socket:[",
        };
        for kind in Kind::ALL {
            let Ok(fd) = kind.open() else {
                assert!(kind.is_optional(), "{kind}");
                continue;
            };
            let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
            let link = link.to_string_lossy();
            assert!(link.contains(expected(kind)), "{kind}: {link}");
        }
    }
}
