// SPDX-License-Identifier: Apache-2.0
//! Leases: a process asks to be told before another one opens its file.
//!
//! Source: `fcntl(2)`, `F_SETLEASE`.

use std::os::fd::{AsFd, AsRawFd};

use dmabuf_uapi::last_errno;
use rustix::io::Result;

/// Takes a write lease on a file and lets no signal tell of those who want to break it: they wait
/// for `/proc/sys/fs/lease-break-time`. The lease ends when the file is closed.
///
/// # Errors
/// - `AGAIN`: the file is open elsewhere, too.
/// - `ACCESS`: the file belongs to another user.
/// - `INVAL`: the file system has no leases.
pub fn take_write_lease(file: impl AsFd) -> Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: F_SETLEASE takes an integer and touches no memory of this process.
    if unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK) } != 0 {
        return Err(last_errno());
    }
    // SAFETY: F_SETOWN takes an integer and touches no memory of this process. Without an owner,
    // the kernel sends no SIGIO, which would end the process.
    if unsafe { libc::fcntl(fd, libc::F_SETOWN, 0) } != 0 {
        return Err(last_errno());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{open, Mode, OFlags};
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_leased_file_is_not_opened_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leased");
        let file = std::fs::File::create(&path).unwrap();
        take_write_lease(&file).unwrap();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = open(&path, flags, Mode::empty());
        assert_eq!(opened.err(), Some(Errno::WOULDBLOCK));
    }
}
