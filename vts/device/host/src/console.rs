// SPDX-License-Identifier: Apache-2.0
//! The device's serial console, which shows the kernel log.

use std::fs;
use std::path::Path;

/// What the kernel's reports of its own bugs begin with.
const COMPLAINTS: [&str; 7] = [
    "BUG: ",
    "Internal error: ",
    "Kernel panic",
    "Oops: ",
    "UBSAN: ",
    "WARNING: ",
    "blocked for more than ",
];

/// Lines of context kept after a complaint.
const CONTEXT_LINES: usize = 12;

/// Reads a log; bytes that are not UTF-8 are replaced.
pub fn read(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

/// The kernel's first report of a bug, if the log has one.
pub fn complaint(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().map(str::trim_end).collect();
    let is_complaint = |line: &&str| {
        COMPLAINTS.iter().any(|text| line.starts_with(text) || line.contains(&format!(" {text}")))
            || line.contains("detected stall") && line.contains("rcu")
    };
    let first = lines.iter().position(is_complaint)?;
    Some(lines[first..lines.len().min(first + CONTEXT_LINES)].join("\n"))
}

/// The last lines of a log.
pub fn tail(log: &str, count: usize) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim_end).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bugs_are_found() {
        let log = "init: up\r\nWARNING: CPU: 1 PID: 7 at mm/x.c:3 f+0x1\r\nCall Trace:\r\n";
        assert_eq!(
            complaint(log).as_deref(),
            Some("WARNING: CPU: 1 PID: 7 at mm/x.c:3 f+0x1\nCall Trace:")
        );
        assert!(complaint("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n").is_some());
        assert!(complaint("INFO: task sh:7 blocked for more than 120 seconds.\n").is_some());
        assert!(complaint("x BUG: KASAN: slab-out-of-bounds in f\n").is_some());
        assert_eq!(complaint("Linux version 6.12\ninit: first stage\nDEBUG: x\n"), None);
    }

    #[test]
    fn tail_is_the_end() {
        assert_eq!(tail("a\r\nb\r\nc\r\n", 2), "b\nc");
        assert_eq!(tail("a\n", 5), "a");
    }
}
