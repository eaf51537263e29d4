// SPDX-License-Identifier: Apache-2.0
//! How much memory of this machine the devices may take.

use std::fs;

use anyhow::{Context, Result};

/// Memory that devices leave to this machine.
const RESERVE_MIB: u64 = 2 * 1024;

/// Memory and disk of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Its memory.
    pub memory_mib: u64,
    /// Its disk for /data.
    pub data_disk_mib: u64,
}

impl Size {
    /// The memory of this machine that it takes if the disk is in memory, too.
    pub fn total_mib(self) -> u64 {
        self.memory_mib + self.data_disk_mib
    }
}

/// Whether so much memory is available now.
pub fn has_room_for(size_mib: u64) -> Result<bool> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let available = available_mib(&text).context("/proc/meminfo has no MemAvailable")?;
    Ok(available >= size_mib + RESERVE_MIB)
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo() {
        let text = "MemTotal:       24689764 kB\nMemAvailable:   24000000 kB\n";
        assert_eq!(available_mib(text), Some(23437));
        assert_eq!(available_mib("MemTotal: 1 kB\n"), None);
    }
}
