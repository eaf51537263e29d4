// SPDX-License-Identifier: Apache-2.0
//! Typed Linux calls that only tests and benchmarks make; the product's are in [`dmabuf_uapi`].
//!
//! One module per kernel interface, each a thin and safe wrapper, with the conventions of
//! [`dmabuf_uapi`]: functions return [`rustix::io::Result`], take file descriptors as
//! [`std::os::fd::AsFd`] and return new ones as [`std::os::fd::OwnedFd`] with `O_CLOEXEC` set.
//!
//! # Threading and lifetime
//! Every function may be called from any thread, and the crate keeps no state between calls.

#![deny(missing_docs, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

pub mod anonymous_fds;
pub mod cpu_clock;
pub mod dma_buf_exporter;
pub mod dma_buf_importer;
pub mod dma_heap;
pub mod drm_prime;
pub mod f2fs;
pub mod fd_kinds;
pub mod fiemap;
pub mod fs_verity;
pub mod fscrypt;
pub mod fuse;
pub mod lease;
pub mod sw_sync;
pub mod sync_file;
pub mod udmabuf;

use std::os::fd::{FromRawFd, OwnedFd};

use dmabuf_uapi::last_errno;
use rustix::io::{Errno, Result};

/// Converts the errno of a call that nix made.
fn from_nix(errno: nix::Error) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

/// Converts the result of a system call: a new fd, or -1 with `errno` set.
///
/// # Safety
/// A returned fd must belong to the caller, who passes its ownership on.
unsafe fn opened(returned: libc::c_long) -> Result<OwnedFd> {
    match i32::try_from(returned) {
        // SAFETY: the caller promises that it owns the fd.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_errno()),
    }
}
