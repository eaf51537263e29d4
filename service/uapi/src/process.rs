// SPDX-License-Identifier: Apache-2.0
//! Whether another process has ended.
//!
//! Source: `pidfd_open(2)`, Linux 5.3.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::{retry_on_intr, Result};

use crate::last_errno;

/// A process, until it ends. It keeps neither the process nor its pid.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// The process that has this pid now, in the pid namespace of the caller.
    ///
    /// # Errors
    /// - `SRCH`: there is none.
    /// - `INVAL`: the pid is not that of a process, or not positive.
    /// - `NOSYS`, `MFILE`, `NFILE`, `NOMEM`.
    pub fn of_pid(pid: i32) -> Result<Self> {
        let no_flags = 0;
        // SAFETY: the call takes numbers only, and returns a new fd with O_CLOEXEC or an error.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, no_flags) };
        let fd = RawFd::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(last_errno());
        }
        // SAFETY: the call succeeded, so that this is a new fd which nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Whether it has ended; its parent may not have waited for it yet.
    ///
    /// # Errors
    /// `NOMEM`.
    pub fn has_ended(&self) -> Result<bool> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut pidfd = [PollFd::new(&self.0, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut pidfd, Some(&at_once)))? > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_process_that_is_killed_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process::of_pid(child.id() as i32).unwrap();
        assert_eq!(process.has_ended(), Ok(false));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process.has_ended(), Ok(true));
        assert_eq!(Process::of_pid(0).map(drop), Err(Errno::INVAL));
    }
}
