// SPDX-License-Identifier: Apache-2.0
//! A progress bar on standard error, shown on a terminal only.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const WIDTH: usize = 40;

/// How often the bar is redrawn while this thread waits for the load.
const REDRAW: Duration = Duration::from_millis(100);

/// Shows the progress of a transfer on standard error.
pub struct Progress {
    total_bytes: u64,
    on_terminal: bool,
}

impl Progress {
    /// Makes a bar for `total_bytes`; it prints nothing if standard error is not a terminal.
    pub fn new(total_bytes: u64) -> Self {
        Self { total_bytes, on_terminal: std::io::stderr().is_terminal() }
    }

    /// Whether the bar is visible.
    pub fn is_shown(&self) -> bool {
        self.on_terminal
    }

    /// Draws the bar.
    pub fn show(&self, done_bytes: u64) {
        if self.on_terminal {
            eprint!("\r{}", bar(done_bytes, self.total_bytes));
            let _ = std::io::stderr().flush();
        }
    }

    /// Calls `load`, which reads files in this process, and moves the bar by the bytes that the
    /// kernel counts for this process meanwhile.
    pub fn watch_own_reads<T>(&self, load: impl FnOnce() -> T) -> T {
        let Some(before) = own_read_bytes().filter(|_| self.on_terminal) else { return load() };
        thread::scope(|scope| {
            let (ended, end) = mpsc::channel::<()>();
            scope.spawn(move || {
                while end.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
                    self.show(own_read_bytes().map_or(0, |now| now.saturating_sub(before)));
                }
            });
            let result = load();
            drop(ended);
            result
        })
    }
}

/// Bytes that this process has read by read(2) and similar calls, see `rchar` in proc_pid_io(5).
fn own_read_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.on_terminal {
            // Erases the line, so that the result or the error starts at its beginning.
            eprint!("\r{:width$}\r", "", width = WIDTH + 30);
        }
    }
}

fn bar(done_bytes: u64, total_bytes: u64) -> String {
    let done = done_bytes.min(total_bytes);
    let (done, total) = (u128::from(done), u128::from(total_bytes.max(1)));
    let filled = (done * WIDTH as u128 / total) as usize;
    let percent = done * 100 / total;
    format!("[{:#<filled$}{:.<rest$}] {percent:3} %", "", "", rest = WIDTH - filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_reads_are_counted() {
        let before = own_read_bytes().unwrap();
        let size_bytes = std::fs::read("/proc/self/exe").unwrap().len() as u64;
        assert!(own_read_bytes().unwrap() - before >= size_bytes);
        let progress = Progress { total_bytes: 10, on_terminal: true };
        assert_eq!(progress.watch_own_reads(|| 7), 7);
    }

    #[test]
    fn a_bar_is_empty_at_first_and_full_at_last() {
        assert_eq!(bar(0, 7), format!("[{}]   0 %", ".".repeat(WIDTH)));
        assert_eq!(bar(7, 7), format!("[{}] 100 %", "#".repeat(WIDTH)));
        assert_eq!(bar(u64::MAX / 2, u64::MAX).len(), bar(0, 0).len());
    }
}
