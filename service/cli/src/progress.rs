// SPDX-License-Identifier: Apache-2.0
//! The progress of requests on standard error, shown on a terminal only.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use dmabuf_loader_client::aidl::TaskProgress::TaskProgress;

use crate::output::bytes_text;

const BAR_WIDTH: usize = 20;
const LINE_WIDTH: usize = 79;

/// How long a change of the rate takes to show.
const RATE_SETTLES: Duration = Duration::from_secs(2);

/// Shows how far the requests of a transfer are.
pub struct Progress {
    verb: &'static str,
    total_bytes: u64,
    done_bytes: u64,
    begun: Instant,
    rate: Rate,
    on_terminal: bool,
}

impl Progress {
    /// The progress of `total_bytes`; it prints nothing if standard error is not a terminal.
    pub fn new(verb: &'static str, total_bytes: u64) -> Self {
        let begun = Instant::now();
        let on_terminal = std::io::stderr().is_terminal();
        Self { verb, total_bytes, done_bytes: 0, begun, rate: Rate::default(), on_terminal }
    }

    /// Shows how far the current request is.
    pub fn show(&mut self, task: &TaskProgress) {
        let moved_bytes = self.done_bytes + u64::try_from(task.movedBytes).unwrap_or(0);
        self.rate.update(self.begun.elapsed(), moved_bytes);
        if self.on_terminal {
            eprint!("\r{:LINE_WIDTH$}", self.text(task, moved_bytes));
            let _ = std::io::stderr().flush();
        }
    }

    /// A request has ended, and moved so many bytes.
    pub fn request_ended(&mut self, moved_bytes: u64) {
        self.done_bytes += moved_bytes;
    }

    fn text(&self, task: &TaskProgress, moved_bytes: u64) -> String {
        if task.totalBytes == 0 && moved_bytes == 0 {
            let waited = self.begun.elapsed().as_secs_f64();
            return format!(
                "{} {}: waiting, {waited:.1} s",
                self.verb,
                bytes_text(self.total_bytes)
            );
        }
        let line = line(moved_bytes, self.total_bytes, self.rate.bytes_per_second);
        format!("{} {line}", self.verb)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.on_terminal {
            // Erases the line, so that the result or the error starts at its beginning.
            eprint!("\r{:LINE_WIDTH$}\r", "");
        }
    }
}

/// How fast bytes move, smoothed over [`RATE_SETTLES`].
#[derive(Default)]
struct Rate {
    last: Option<(Duration, u64)>,
    bytes_per_second: Option<f64>,
}

impl Rate {
    fn update(&mut self, elapsed: Duration, moved_bytes: u64) {
        let Some((last, last_bytes)) = self.last.replace((elapsed, moved_bytes)) else { return };
        let seconds = elapsed.saturating_sub(last).as_secs_f64();
        if seconds == 0.0 || (self.bytes_per_second.is_none() && moved_bytes == last_bytes) {
            return;
        }
        let now = moved_bytes.saturating_sub(last_bytes) as f64 / seconds;
        let weight = 1.0 - (-seconds / RATE_SETTLES.as_secs_f64()).exp();
        let rate = self.bytes_per_second.map_or(now, |before| before + weight * (now - before));
        self.bytes_per_second = Some(rate);
    }
}

fn line(moved_bytes: u64, total_bytes: u64, bytes_per_second: Option<f64>) -> String {
    let moved = moved_bytes.min(total_bytes);
    let (bar, of) = (bar(moved, total_bytes), bytes_text(total_bytes));
    match bytes_per_second {
        Some(rate) if rate >= 1.0 => {
            let left = (total_bytes - moved) as f64 / rate;
            format!("{bar} of {of}, {}/s, {} left", bytes_text(rate as u64), seconds_text(left))
        }
        _ => format!("{bar} of {of}"),
    }
}

fn bar(moved_bytes: u64, total_bytes: u64) -> String {
    let (moved, total) = (u128::from(moved_bytes), u128::from(total_bytes.max(1)));
    let filled = (moved * BAR_WIDTH as u128 / total) as usize;
    let percent = moved * 100 / total;
    format!("[{:#<filled$}{:.<rest$}] {percent:3} %", "", "", rest = BAR_WIDTH - filled)
}

fn seconds_text(seconds: f64) -> String {
    // Rounded up: what is left is not nothing.
    let seconds = seconds.ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_empty_at_first_and_full_at_last() {
        assert_eq!(bar(0, 7), format!("[{}]   0 %", ".".repeat(BAR_WIDTH)));
        assert_eq!(bar(7, 7), format!("[{}] 100 %", "#".repeat(BAR_WIDTH)));
        assert_eq!(bar(u64::MAX / 2, u64::MAX).len(), bar(0, 0).len());
    }

    #[test]
    fn the_line_has_rate_and_remaining_time() {
        let shown = line(256 << 20, 1 << 30, Some(f64::from(100 << 20)));
        let expected = "[#####...............]  25 % of 1.0 GiB, 100.0 MiB/s, 0:08 left";
        assert_eq!(shown, expected);
        assert_eq!(line(0, 4096, None), format!("{} of 4.0 KiB", bar(0, 4096)));
        // A file that has grown, and a stalled transfer.
        assert!(line(9, 7, Some(0.0)).ends_with("100 % of 7 bytes"));
        let longest = line(1 << 40, 1023 << 30, Some(1e12));
        assert!("loading ".len() + longest.len() < LINE_WIDTH, "{longest}");
    }

    #[test]
    fn the_remaining_time_has_hours_where_needed() {
        let texts = [0.0, 0.2, 59.5, 3599.0, 3600.0, 36_061.0].map(seconds_text);
        assert_eq!(texts, ["0:00", "0:01", "1:00", "59:59", "1:00:00", "10:01:01"]);
    }

    #[test]
    fn the_rate_follows_what_moves() {
        let mut rate = Rate::default();
        let mut at = |millis: u64, bytes: u64| {
            rate.update(Duration::from_millis(millis), bytes);
            rate.bytes_per_second
        };
        assert_eq!(at(0, 0), None);
        assert_eq!(at(500, 0), None, "what waits has no rate");
        assert_eq!(at(1000, 500), Some(1000.0));
        assert_eq!(at(1000, 500), Some(1000.0), "no time has passed");
        let slower = at(2000, 500).unwrap();
        assert!((300.0..900.0).contains(&slower), "{slower}");
        assert!(at(20_000, 500).unwrap() < 1.0);
    }

    #[test]
    fn what_is_not_sized_yet_waits() {
        let progress = Progress::new("loading", 100 << 20);
        let text = progress.text(&TaskProgress::default(), 0);
        assert!(text.starts_with("loading 100.0 MiB: waiting, 0."), "{text}");
        let task = TaskProgress { movedBytes: 50 << 20, totalBytes: 100 << 20, ended: false };
        assert!(progress.text(&task, 50 << 20).contains(" 50 % of 100.0 MiB"));
    }
}
