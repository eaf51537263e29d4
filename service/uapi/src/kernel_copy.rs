// SPDX-License-Identifier: Apache-2.0
//! Copies that the kernel makes between two places in the memory of this process. Where a page is
//! gone they fail, and a copy by the CPU in user space would end the process by SIGBUS.
//!
//! Source: `process_vm_readv(2)`. The call checks nobody's rights where the process is the caller's
//! own. Of its two sides the local one may be any memory; on the remote one the kernel pins pages,
//! which mappings of dma-bufs do not permit.

use std::ffi::c_void;

use rustix::io::{Errno, Result};

use crate::last_errno;

/// Copies to memory that may be gone.
///
/// # Errors
/// - `FAULT`: a page of the target is gone. Those before it are written.
/// - `NOSYS`: the kernel has no `CONFIG_CROSS_MEMORY_ATTACH`.
///
/// # Safety
/// `source` is valid for reads and `target` is mapped for writing, of `len_bytes` each.
pub(crate) unsafe fn copy_into(target: *mut u8, source: *const u8, len_bytes: usize) -> Result<()> {
    in_parts(len_bytes, |done, left| {
        let local = part(target, done, left);
        let remote = part(source.cast_mut(), done, left);
        // SAFETY: both parts lie in the ranges that the caller vouches for; the kernel writes to
        // the local one alone.
        let copied = unsafe {
            libc::process_vm_readv(own_pid(), &raw const local, 1, &raw const remote, 1, 0)
        };
        usize::try_from(copied).map_err(|_| last_errno())
    })
}

/// Copies out of memory that may be gone.
///
/// # Errors
/// As for [`copy_into`], of the source.
///
/// # Safety
/// `target` is valid for writes and `source` is mapped, of `len_bytes` each.
pub(crate) unsafe fn copy_out_of(
    source: *const u8,
    target: *mut u8,
    len_bytes: usize,
) -> Result<()> {
    in_parts(len_bytes, |done, left| {
        let local = part(source.cast_mut(), done, left);
        let remote = part(target, done, left);
        // SAFETY: both parts lie in the ranges that the caller vouches for; the kernel writes to
        // the remote one alone.
        let copied = unsafe {
            libc::process_vm_writev(own_pid(), &raw const local, 1, &raw const remote, 1, 0)
        };
        usize::try_from(copied).map_err(|_| last_errno())
    })
}

fn own_pid() -> libc::pid_t {
    std::process::id() as libc::pid_t
}

fn part(start: *mut u8, done_bytes: usize, len_bytes: usize) -> libc::iovec {
    let iov_base = start.wrapping_add(done_bytes).cast::<c_void>();
    libc::iovec { iov_base, iov_len: len_bytes }
}

/// Calls `copy` with the bytes done and left until none are left.
///
/// # Errors
/// Those of `copy`; `FAULT` where it copies nothing.
pub(crate) fn in_parts(
    len_bytes: usize,
    copy: impl Fn(usize, usize) -> Result<usize>,
) -> Result<()> {
    let mut done = 0;
    while done < len_bytes {
        // The kernel copies up to 2 GiB at a time, and less where it then meets a page that is
        // gone.
        match copy(done, len_bytes - done)? {
            0 => return Err(Errno::FAULT),
            count => done += count,
        }
    }
    Ok(())
}
