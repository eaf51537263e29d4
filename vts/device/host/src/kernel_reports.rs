// SPDX-License-Identifier: Apache-2.0
//! Reports of the kernel, in its log, about bugs of its own.

/// What reports of bugs begin with.
const BEGINNINGS: [&str; 14] = [
    CUT_HERE,
    "BUG: ",
    "DMA-API: cacheline tracking ENOMEM",
    "DMA-API: debugging out of memory",
    "INFO: trying to register non-static key",
    "Internal error: ",
    "Kernel panic",
    "Oops: ",
    "UBSAN: ",
    "WARNING: ",
    "blocked for more than ",
    "general protection fault",
    "kernel BUG at ",
    "kmemleak: Kernel memory leak detector disabled",
];

/// Precedes a warning, and sometimes a line about its cause.
const CUT_HERE: &str = "------------[ cut here ]------------";

/// Lines after `cut here` among which the warning is.
const CUT_HERE_LINES: usize = 4;

/// What the report of a warning ends with.
const END: &str = "---[ end trace ";

/// Lines of a report that are searched for what is known.
const REPORT_LINES: usize = 150;

/// Lines of a report that are shown.
const SHOWN_LINES: usize = 40;

/// A bug that is not this project's.
#[derive(Debug)]
pub struct KnownBug {
    /// What a report of it contains, all of it.
    contains: &'static [&'static str],
    /// Why it is not a failure.
    pub reason: &'static str,
}

const KNOWN_BUGS: [KnownBug; 3] = [
    KnownBug {
        contains: &["DMA-API: platform vgem: mapping sg segment longer than device claims"],
        reason: "vgem does not say how long a segment may be, and gets the default of 64 KiB",
    },
    KnownBug {
        contains: &["WARNING: ", "dma_buf_vmap+"],
        reason: "dma_buf_vmap() warns if its exporter has no memory left",
    },
    KnownBug {
        contains: &["rcu", "detected stall", "udmabuf_create"],
        reason: "udmabuf pins gigabytes in one go, which KASAN makes slow",
    },
];

/// The reports of a log, by whether they are known.
#[derive(Debug, Default)]
pub struct Reports {
    /// Reports that fail a run.
    pub unknown: Vec<String>,
    /// Bugs of others, once each.
    pub known: Vec<&'static KnownBug>,
}

impl Reports {
    /// Reads a log.
    pub fn of(log: &str) -> Self {
        let lines: Vec<&str> = log.lines().map(str::trim_end).collect();
        let mut reports = Self::default();
        let mut at = 0;
        while at < lines.len() {
            if !begins(lines[at]) {
                at += 1;
                continue;
            }
            let end = end(&lines, at);
            reports.add(&lines[at..end]);
            at = end;
        }
        reports
    }

    fn add(&mut self, lines: &[&str]) {
        let text = lines.join("\n");
        match KNOWN_BUGS.iter().find(|bug| bug.contains.iter().all(|part| text.contains(part))) {
            Some(bug) if self.known.iter().any(|known| std::ptr::eq(*known, bug)) => {}
            Some(bug) => self.known.push(bug),
            None => self.unknown.push(lines[..lines.len().min(SHOWN_LINES)].join("\n")),
        }
    }
}

fn begins(line: &str) -> bool {
    BEGINNINGS.iter().any(|text| line.starts_with(text) || line.contains(&format!(" {text}")))
        || line.contains("detected stall") && line.contains("rcu")
        || line.contains("kmemleak: ") && line.contains("new suspected memory leaks")
}

/// The first line after the report that begins at line `begin`.
fn end(lines: &[&str], begin: usize) -> usize {
    let last = lines.len().min(begin + REPORT_LINES);
    // A warning and a line about its cause, after `cut here`, do not begin another report.
    let head = if lines[begin].contains(CUT_HERE) { CUT_HERE_LINES } else { 0 };
    for (after, line) in (1..).zip(&lines[begin + 1..last]) {
        if line.contains(END) {
            return begin + after + 1;
        }
        if after > head && begins(line) {
            return begin + after;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(log: &str) -> Vec<String> {
        Reports::of(log).unknown
    }

    #[test]
    fn reports_are_found() {
        let log = "init: up\r\nWARNING: CPU: 1 PID: 7 at mm/x.c:3 f+0x1\r\nCall Trace:\r\n";
        assert_eq!(unknown(log), ["WARNING: CPU: 1 PID: 7 at mm/x.c:3 f+0x1\nCall Trace:"]);
        for line in [
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "INFO: task sh:7 blocked for more than 120 seconds.",
            "x BUG: KASAN: slab-out-of-bounds in f",
            "[    1.2] BUG: sleeping function called from invalid context at mm/x.c:1",
            "WARNING: possible circular locking dependency detected",
            "WARNING: suspicious RCU usage",
            "UBSAN: array-index-out-of-bounds in mm/x.c:1:2",
            "kernel BUG at mm/x.c:123!",
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "DMA-API: debugging out of memory - disabling",
            "INFO: trying to register non-static key.",
        ] {
            assert_eq!(unknown(&format!("a\n{line}\n")), [line]);
        }
        assert!(unknown("Linux version 6.12\ninit: first stage\nDEBUG: x\n").is_empty());
        for line in [
            "kmemleak: Kernel memory leak detector initialized",
            "DMA-API: preallocated 65536 debug entries",
        ] {
            assert!(unknown(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn each_report_is_one() {
        let warning = |place: &str| {
            format!(
                "------------[ cut here ]------------\nDMA-API: x: a cause\n\
                 WARNING: CPU: 0 PID: 1 at {place}\nCall Trace:\n---[ end trace 0 ]---\n"
            )
        };
        let found = unknown(&format!("{}fine\n{}fine\nBUG: c\n", warning("a"), warning("b")));
        let firsts: Vec<bool> = found.iter().map(|text| text.starts_with(CUT_HERE)).collect();
        assert_eq!(firsts, [true, true, false], "{found:?}");
        assert!(found[0].contains(" at a\n") && !found[0].contains("fine"), "{found:?}");
    }

    #[test]
    fn bugs_of_others_are_told_apart() {
        let dma = "------------[ cut here ]------------\n\
                   DMA-API: platform vgem: mapping sg segment longer than device claims to support\n\
                   WARNING: CPU: 0 PID: 1 at kernel/dma/debug.c:1 check_sync+0x1\n\
                   ---[ end trace 0 ]---\n";
        let reports = Reports::of(&format!("{dma}{dma}BUG: ours\n"));
        assert_eq!(reports.unknown, ["BUG: ours"]);
        assert_eq!(reports.known.len(), 1);
        // Only all that is known of a bug excuses a report.
        assert_eq!(unknown(&dma.replace("vgem", "other")).len(), 1);
        assert_eq!(unknown("WARNING: CPU: 0 PID: 1 at x dma_buf_attach+0x1\n").len(), 1);
        assert!(unknown("WARNING: CPU: 0 PID: 1 at x dma_buf_vmap+0x1/0x2\n").is_empty());
    }
}
