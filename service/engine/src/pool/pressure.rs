// SPDX-License-Identifier: Apache-2.0
//! Memory pressure of the whole machine, as the kernel announces it (PSI).
//!
//! Source: `Documentation/accounting/psi.rst` of Linux 6.12.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};

const MEMORY_PRESSURE: &str = "/proc/pressure/memory";

/// Tasks stalled for want of memory for 100 ms within 2 s, the shortest window that needs no
/// privilege.
const TRIGGER: &[u8] = b"some 100000 2000000\0";

/// A trigger that the kernel pulls while memory is short.
#[derive(Debug)]
pub(super) struct MemoryPressure(File);

impl MemoryPressure {
    /// Sets the trigger; `None` where the kernel has no PSI or does not let this process use it.
    pub(super) fn watch() -> Option<Self> {
        let opened = OpenOptions::new().read(true).write(true).open(MEMORY_PRESSURE);
        let set = opened.and_then(|mut file| file.write_all(TRIGGER).map(|()| file));
        match set {
            Ok(file) => Some(Self(file)),
            Err(error) => {
                log::info!("the pool does not hear of memory pressure: {MEMORY_PRESSURE}: {error}");
                None
            }
        }
    }

    /// Whether the trigger was pulled since the last question.
    pub(super) fn is_high(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::PRI)];
        let now = Timespec::try_from(Duration::ZERO).unwrap_or_default();
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
            && fds[0].revents().contains(PollFlags::PRI)
    }
}
