// SPDX-License-Identifier: Apache-2.0
//! What the process of the service has open and running: clients cannot look into its `/proc`
//! entries, and tests compare these numbers before and after what a hostile client does.

use std::io::{Error, ErrorKind, Result};

use serde::Serialize;

/// What this process uses now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessUsage {
    /// The process.
    pub pid: u32,
    /// Open fds.
    pub fds: u64,
    /// Threads, those of binder among them.
    pub threads: u64,
    /// Memory in pages that only this process has, in KiB; buffers are not part of it.
    pub anonymous_kib: u64,
    /// As init has set it; -1000 keeps the OOM killer away.
    pub oom_score_adj: i32,
}

impl ProcessUsage {
    /// Asks the kernel.
    ///
    /// # Errors
    /// Those of procfs.
    pub fn now() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let figure = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key));
            let number = value.and_then(|value| value.split_ascii_whitespace().next());
            number
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("no {key} in status")))
        };
        // One fd is that of the directory itself.
        let fds = std::fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
        let oom_score_adj = std::fs::read_to_string("/proc/self/oom_score_adj")?;
        let oom_score_adj = oom_score_adj
            .trim()
            .parse()
            .map_err(|_| Error::new(ErrorKind::InvalidData, "no number in oom_score_adj"))?;
        let (threads, anonymous_kib) = (figure("Threads:")?, figure("RssAnon:")?);
        Ok(Self { pid: std::process::id(), fds, threads, anonymous_kib, oom_score_adj })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_opens_and_touches_is_counted() {
        const OPENED: usize = 100;
        let before = ProcessUsage::now().unwrap();
        let files: Vec<_> =
            (0..OPENED).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let memory = vec![1_u8; 64 << 20];
        let usage = ProcessUsage::now().unwrap();
        assert_eq!(usage.pid, std::process::id());
        // Other tests of this process run meanwhile.
        assert!(usage.fds + 20 >= before.fds + OPENED as u64, "{before:?} {usage:?}");
        assert!(usage.anonymous_kib >= 60 << 10, "{usage:?}");
        assert!(usage.threads >= 1);
        drop((files, memory));
    }
}
