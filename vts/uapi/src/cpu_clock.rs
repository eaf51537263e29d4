// SPDX-License-Identifier: Apache-2.0
//! CPU clocks: the CPU time of a process or a thread, in user space and in the kernel.
//!
//! Source: `clock_getcpuclockid(3)`, `clock_gettime(2)`.

use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime, ClockId};
use nix::unistd::Pid;
use rustix::io::{Errno, Result};

use crate::from_nix;

/// `PID_MAX_LIMIT`: a clock id cannot hold larger numbers, and would silently name another process.
const MAX_PID: libc::pid_t = 4 << 20;

/// The CPU clock of one process, or of the calling thread. The clock of a process includes threads
/// that have ended.
///
/// The clock of another process is exact while that process does not run. While it runs, the clock
/// may lack the time since the last scheduler tick of each processor.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(ClockId);

impl CpuClock {
    /// The clock of this process.
    pub const OWN: Self = Self(ClockId::CLOCK_PROCESS_CPUTIME_ID);

    /// The clock of the thread that reads it.
    pub const CALLING_THREAD: Self = Self(ClockId::CLOCK_THREAD_CPUTIME_ID);

    /// Returns the clock of the process with this id.
    ///
    /// # Errors
    /// `SRCH`: no process has this id. `INVAL`: `pid` is not a process id.
    pub fn of_process(pid: u32) -> Result<Self> {
        let in_range = |pid: &libc::pid_t| (1..=MAX_PID).contains(pid);
        let pid = libc::pid_t::try_from(pid).ok().filter(in_range).ok_or(Errno::INVAL)?;
        clock_getcpuclockid(Pid::from_raw(pid)).map(Self).map_err(from_nix)
    }

    /// Returns the CPU time so far.
    ///
    /// # Errors
    /// `INVAL`: the process has ended.
    pub fn time(self) -> Result<Duration> {
        clock_gettime(self.0).map(Duration::from).map_err(from_nix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_clock_advances_with_work() {
        let before = CpuClock::OWN.time().unwrap();
        let mut sum = 0_u64;
        while CpuClock::OWN.time().unwrap() == before {
            sum = std::hint::black_box(sum + 1);
        }
        let by_pid = CpuClock::of_process(std::process::id()).unwrap().time().unwrap();
        assert!(by_pid > before);
    }

    #[test]
    fn the_clock_of_a_thread_is_its_own() {
        let other = std::thread::spawn(|| CpuClock::CALLING_THREAD.time().unwrap());
        let total = CpuClock::OWN.time().unwrap();
        assert!(other.join().unwrap() < total + CpuClock::OWN.time().unwrap());
        assert!(CpuClock::CALLING_THREAD.time().unwrap() <= CpuClock::OWN.time().unwrap());
    }

    #[test]
    fn a_missing_process_has_no_clock() {
        for pid in [0, MAX_PID as u32 + 1, i32::MAX as u32, u32::MAX] {
            assert_eq!(CpuClock::of_process(pid).err(), Some(Errno::INVAL), "{pid}");
        }
    }
}
