// SPDX-License-Identifier: Apache-2.0
//! The report: what the device tells the host over the virtio-serial port
//! [`REPORT_PORT`], one JSON object per line.
//!
//! A complete run is `boot`, any number of `service` and steps (`start`, `line`..., `exit`), and
//! `done` as the last line. `fatal` instead of `done` says why the device powered itself off; a
//! stream that ends with neither was cut.

use serde::{Deserialize, Serialize};

/// Name of the virtio-serial port that carries the report.
pub const REPORT_PORT: &str = "vts.report";

/// Which of a step's two output streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Boot is complete: services are started and the pushed files are in place.
    Boot {
        /// Kernel release, as `uname -r`.
        kernel: String,
        /// Whether SELinux enforces.
        enforcing: bool,
        /// SELinux context of init itself.
        context: String,
        /// Milliseconds since the kernel started.
        uptime_ms: u64,
        /// SELinux denials logged since then.
        denials: Vec<String>,
    },
    /// A service was started, or started again.
    Service {
        /// Name in its .rc file.
        name: String,
        /// Process id.
        pid: u32,
        /// User id it was given.
        uid: u32,
        /// SELinux context it runs in.
        context: String,
    },
    /// A service ended before the device was shut down.
    ServiceExit {
        /// Name in its .rc file.
        name: String,
        /// Process id.
        pid: u32,
        /// Exit status, if it exited.
        code: Option<i32>,
        /// Number of the signal that ended it, if one did.
        signal: Option<i32>,
    },
    /// A step begins.
    Start {
        /// Name of the step.
        step: String,
    },
    /// A step printed a line, given without its line end; bytes that are not UTF-8 are replaced.
    Line {
        /// Name of the step.
        step: String,
        /// Where it was printed.
        stream: Stream,
        /// The text.
        line: String,
    },
    /// A step ended and nothing it started is left.
    Exit {
        /// Name of the step.
        step: String,
        /// Exit status, if it exited.
        code: Option<i32>,
        /// Number of the signal that ended it, if one did.
        signal: Option<i32>,
        /// Whether it was killed because its time was up.
        timed_out: bool,
        /// How long it ran, in milliseconds.
        duration_ms: u64,
        /// SELinux denials of any process that were logged while it ran.
        denials: Vec<String>,
    },
    /// The device cannot go on; it powers itself off.
    Fatal {
        /// Why.
        message: String,
    },
    /// Every step ran and /data is unmounted cleanly.
    Done,
}

impl Event {
    /// The event as a line of the report, with its line end.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        let mut line = serde_json::to_string(self)?;
        line.push('\n');
        Ok(line)
    }

    /// Reads one line of a report.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape() {
        let line = Event::Line { step: "a".into(), stream: Stream::Stderr, line: "x\"y".into() };
        let text = line.to_line().unwrap();
        assert_eq!(
            text,
            "{\"event\":\"line\",\"step\":\"a\",\"stream\":\"stderr\",\"line\":\"x\\\"y\"}\n"
        );
        assert_eq!(Event::from_line(&text).unwrap(), line);
        assert_eq!(Event::Done.to_line().unwrap(), "{\"event\":\"done\"}\n");
        assert_eq!(Event::from_line("{\"event\":\"done\"}").unwrap(), Event::Done);
    }

    #[test]
    fn round_trip() {
        for event in [
            Event::Boot {
                kernel: "6.12".into(),
                enforcing: true,
                context: "u:r:init:s0".into(),
                uptime_ms: 1400,
                denials: vec!["avc:  denied".into()],
            },
            Event::Service { name: "s".into(), pid: 3, uid: 1000, context: "u:r:x:s0".into() },
            Event::ServiceExit { name: "s".into(), pid: 3, code: None, signal: Some(9) },
            Event::Exit {
                step: "a".into(),
                code: Some(1),
                signal: None,
                timed_out: false,
                duration_ms: 12,
                denials: vec![],
            },
            Event::Fatal { message: "no".into() },
        ] {
            assert_eq!(Event::from_line(&event.to_line().unwrap()).unwrap(), event);
        }
    }
}
