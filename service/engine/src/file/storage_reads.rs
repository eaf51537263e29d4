// SPDX-License-Identifier: Apache-2.0
//! What a thread has read from storage, by the kernel's account.
//!
//! Source: `proc_pid_io(5)`.

/// What this thread has caused to be read from storage, in bytes; `None` where the kernel does not
/// count it.
pub(crate) fn storage_read_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes: "))?.parse().ok()
}
