// SPDX-License-Identifier: Apache-2.0
//! `/proc/meminfo`: how much memory the machine has left. Imports nothing of the engine.

/// Reading it costs as much as a small load.
const MEMINFO: &str = "/proc/meminfo";

/// What the kernel said at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meminfo(String);

impl Meminfo {
    /// Asks the kernel. A value that it does not tell is missing.
    pub(crate) fn read() -> Self {
        Self(std::fs::read_to_string(MEMINFO).unwrap_or_default())
    }

    /// The number in the line of this name, such as `HugePages_Free`, in the unit of that line.
    pub(crate) fn value(&self, name: &str) -> Option<u64> {
        let mut lines = self.0.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    }

    /// What could be allocated without swapping: free memory and caches that can be dropped.
    pub(crate) fn available_bytes(&self) -> Option<u64> {
        self.value("MemAvailable")?.checked_mul(1024)
    }
}

#[cfg(test)]
impl From<&str> for Meminfo {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_name() {
        let meminfo = Meminfo::from("MemTotal:  9 kB\nMemAvailable:    7 kB\nHugePages_Free:  3\n");
        assert_eq!(meminfo.available_bytes(), Some(7 << 10));
        assert_eq!(meminfo.value("HugePages_Free"), Some(3));
        assert_eq!(meminfo.value("HugePages"), None);
        assert_eq!(Meminfo::default().available_bytes(), None);
    }

    #[test]
    fn this_machine_has_memory_left() {
        assert!(Meminfo::read().available_bytes().is_some_and(|bytes| bytes > 0));
    }
}
