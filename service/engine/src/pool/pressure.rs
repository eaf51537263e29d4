// SPDX-License-Identifier: Apache-2.0
//! Memory pressure of the whole machine, from the kernel's count of stalled time (PSI).
//!
//! The count is read: AOSP's `init.rc` gives `/proc/pressure/memory` to system:system with mode
//! 0664, so that any process may read the file, while a trigger of PSI needs write permission, and
//! before Linux 6.4 CAP_SYS_RESOURCE as well.
//!
//! Source: `Documentation/accounting/psi.rst` and `psi_show()` in `kernel/sched/psi.c` of Linux
//! 6.12.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use dmabuf_uapi::Errno;

const MEMORY_PRESSURE: &str = "/proc/pressure/memory";

/// The machine is short of memory when tasks stall for want of memory for `STALLED` in `WINDOW`.
const STALLED: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_secs(2);

/// Whether the pool sees memory pressure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PressureWatch {
    /// The thread of the pool has not looked yet.
    #[default]
    Starting,
    /// It does.
    Watched,
    /// The kernel has no PSI, or does not let this process read it.
    NotWatched(Errno),
}

/// The stalled time of the machine.
#[derive(Debug)]
pub(super) struct MemoryPressure {
    file: File,
    window: Window,
}

impl MemoryPressure {
    /// Opens the count.
    ///
    /// # Errors
    /// - `NOENT`: the kernel is built without PSI.
    /// - `OPNOTSUPP`: PSI is turned off on the kernel's command line.
    /// - `ACCESS`: file mode or SELinux.
    pub(super) fn watch() -> Result<Self, Errno> {
        let watch = || {
            let file = File::open(MEMORY_PRESSURE)?;
            let window = Window { since: Instant::now(), stalled: stalled(&file)? };
            Ok(Self { file, window })
        };
        watch().map_err(|error: io::Error| {
            log::info!("the pool does not see memory pressure: {MEMORY_PRESSURE}: {error}");
            Errno::from_io_error(&error).unwrap_or(Errno::IO)
        })
    }

    /// Whether tasks have stalled for so long in the current window.
    pub(super) fn is_high(&mut self) -> bool {
        stalled(&self.file).is_ok_and(|stalled| self.window.is_high(Instant::now(), stalled))
    }
}

/// The time in which at least one task was stalled, since the machine started.
fn stalled(file: &File) -> io::Result<Duration> {
    let mut text = [0; 256];
    let len = file.read_at(&mut text, 0)?;
    let text = text.get(..len).unwrap_or_default();
    parse(text).ok_or_else(|| io::Error::from_raw_os_error(Errno::INVAL.raw_os_error()))
}

/// Parses `some avg10=0.00 avg60=0.00 avg300=0.00 total=12`, with the total in microseconds.
fn parse(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?;
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = some.split_whitespace().find_map(|field| field.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

/// Where the current window begins.
#[derive(Debug)]
struct Window {
    since: Instant,
    stalled: Duration,
}

impl Window {
    /// Whether the tasks have stalled for long enough in this window; begins the next one if they
    /// have, or if this one is over.
    fn is_high(&mut self, now: Instant, stalled: Duration) -> bool {
        let elapsed = now.saturating_duration_since(self.since);
        let windows = elapsed.as_secs_f64() / WINDOW.as_secs_f64();
        let threshold = STALLED.mul_f64(windows.max(1.0));
        let is_high = stalled.saturating_sub(self.stalled) >= threshold;
        if is_high || elapsed >= WINDOW {
            *self = Self { since: now, stalled };
        }
        is_high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn the_total_of_some_tasks_is_parsed() {
        let text = b"some avg10=1.50 avg60=0.20 avg300=0.00 total=123456\n\
                     full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(parse(text), Some(Duration::from_micros(123_456)));
        for wrong in [&b""[..], b"full total=7\n", b"some avg10=1.50\n", b"some total=x\n", b"\xff"]
        {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_tenth_of_a_second_in_two_is_high() {
        let begin = Instant::now();
        let mut window = Window { since: begin, stalled: 500 * MILLISECOND };
        assert!(!window.is_high(begin + 20 * MILLISECOND, 599 * MILLISECOND));
        assert!(window.is_high(begin + 40 * MILLISECOND, 600 * MILLISECOND));
        assert!(!window.is_high(begin + 60 * MILLISECOND, 699 * MILLISECOND), "a new window");
        assert!(window.is_high(begin + 1000 * MILLISECOND, 700 * MILLISECOND));
    }

    #[test]
    fn stalls_spread_over_a_long_sleep_are_not_high() {
        let begin = Instant::now();
        let mut window = Window { since: begin, stalled: Duration::ZERO };
        let hour = Duration::from_secs(3600);
        assert!(!window.is_high(begin + hour, 1000 * MILLISECOND));
        assert!(!window.is_high(begin + hour + WINDOW, 1099 * MILLISECOND));
        assert!(window.is_high(begin + hour + 2 * WINDOW, 1199 * MILLISECOND));
    }

    #[test]
    fn pressure_is_watched_without_privilege() {
        match MemoryPressure::watch() {
            Ok(mut pressure) => {
                let since = pressure.window.since;
                pressure.window.stalled = Duration::ZERO;
                pressure.is_high();
                assert!(stalled(&pressure.file).unwrap() >= pressure.window.stalled);
                assert!(pressure.window.since >= since);
            }
            // A kernel without PSI, or a container that hides it.
            Err(errno) => assert!(matches!(errno, Errno::NOENT | Errno::OPNOTSUPP | Errno::ACCESS)),
        }
    }
}
