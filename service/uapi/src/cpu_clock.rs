// SPDX-License-Identifier: Apache-2.0
//! How much CPU time a process, all its threads together, or a thread has had, in user space and in the kernel.
//!
//! Source: `clock_getcpuclockid(3)`, `clock_gettime(2)`.

use std::time::Duration;

use rustix::io::{Errno, Result};

/// `PID_MAX_LIMIT`: a clock id has no room for larger numbers, and would silently name another process.
const MAX_PID: libc::pid_t = 4 << 20;

/// The CPU clock of one process, or of the calling thread. That of a process counts the threads that have ended, too.
///
/// Of another process it is exact while that process does not run; while it runs, it may lack what the processors have
/// not yet accounted for: a scheduler tick at most.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The clock of this process.
    pub const OWN: Self = Self(libc::CLOCK_PROCESS_CPUTIME_ID);

    /// The clock of the thread that asks it.
    pub const CALLING_THREAD: Self = Self(libc::CLOCK_THREAD_CPUTIME_ID);

    /// The clock of the process with that id.
    ///
    /// # Errors
    /// `SRCH`: there is no such process. `INVAL`: `pid` is no process id.
    pub fn of_process(pid: u32) -> Result<Self> {
        let in_range = |pid: &libc::pid_t| (1..=MAX_PID).contains(pid);
        let pid = libc::pid_t::try_from(pid).ok().filter(in_range).ok_or(Errno::INVAL)?;
        let mut clock = 0;
        // SAFETY: the function writes one clock id to `clock`, which is exclusively borrowed.
        match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
            0 => Ok(Self(clock)),
            number => Err(Errno::from_raw_os_error(number)),
        }
    }

    /// The CPU time so far.
    ///
    /// # Errors
    /// `INVAL`: the process is gone.
    pub fn time(self) -> Result<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: clock_gettime fills the one structure it is given, which is exclusively borrowed.
        if unsafe { libc::clock_gettime(self.0, &raw mut time) } != 0 {
            let error = std::io::Error::last_os_error();
            return Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
        }
        let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::RANGE)?;
        let nanoseconds = u32::try_from(time.tv_nsec).map_err(|_| Errno::RANGE)?;
        Ok(Duration::new(seconds, nanoseconds))
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
    fn a_process_that_is_not_there_has_no_clock() {
        for pid in [0, MAX_PID as u32 + 1, i32::MAX as u32, u32::MAX] {
            assert_eq!(CpuClock::of_process(pid).err(), Some(Errno::INVAL), "{pid}");
        }
    }
}
