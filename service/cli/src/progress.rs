// SPDX-License-Identifier: Apache-2.0
//! The progress of a load on standard error, shown on a terminal only.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const WIDTH: usize = 40;

/// How often the progress is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Shows the progress of a transfer on standard error.
pub struct Progress {
    total_bytes: u64,
    on_terminal: bool,
}

impl Progress {
    /// The progress of `total_bytes`; it prints nothing if standard error is not a terminal.
    pub fn new(total_bytes: u64) -> Self {
        Self { total_bytes, on_terminal: std::io::stderr().is_terminal() }
    }

    /// Calls `load` and meanwhile shows how far it is: by the bytes that the kernel counts for this
    /// process, or, if another process reads the file, only for how long it runs.
    pub fn watch<T>(&self, reader: Reader, load: impl FnOnce() -> T) -> T {
        if !self.on_terminal {
            return load();
        }
        let (begin, before) = (Instant::now(), own_read_bytes());
        let text = move || match (reader, before, own_read_bytes()) {
            (Reader::ThisProcess, Some(before), Some(now)) => {
                bar(now.saturating_sub(before), self.total_bytes)
            }
            _ => running(begin.elapsed(), self.total_bytes),
        };
        thread::scope(|scope| {
            let (ended, end) = mpsc::channel::<()>();
            scope.spawn(move || loop {
                eprint!("\r{}", text());
                let _ = std::io::stderr().flush();
                if end.recv_timeout(REDRAW) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            });
            let result = load();
            drop(ended);
            result
        })
    }
}

/// Who reads the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The service, embedded in this process.
    ThisProcess,
    /// The service in a process of its own.
    Another,
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

fn running(elapsed: Duration, total_bytes: u64) -> String {
    let mib = total_bytes as f64 / f64::from(1 << 20);
    format!("loading {mib:.1} MiB, {:.1} s", elapsed.as_secs_f64())
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
        for on_terminal in [false, true] {
            let progress = Progress { total_bytes: 10, on_terminal };
            for reader in [Reader::ThisProcess, Reader::Another] {
                assert_eq!(progress.watch(reader, || 7), 7);
            }
        }
    }

    #[test]
    fn without_a_count_the_time_is_shown() {
        let text = running(Duration::from_millis(2345), 100 << 20);
        assert_eq!(text, "loading 100.0 MiB, 2.3 s");
    }

    #[test]
    fn a_bar_is_empty_at_first_and_full_at_last() {
        assert_eq!(bar(0, 7), format!("[{}]   0 %", ".".repeat(WIDTH)));
        assert_eq!(bar(7, 7), format!("[{}] 100 %", "#".repeat(WIDTH)));
        assert_eq!(bar(u64::MAX / 2, u64::MAX).len(), bar(0, 0).len());
    }
}
