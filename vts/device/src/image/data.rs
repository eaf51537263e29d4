// SPDX-License-Identifier: Apache-2.0
//! The disk for /data: an empty F2FS with the features Android's has.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{memfd_create, MemfdFlags};

use crate::command::{command, run_logged};
use crate::qemu::GUEST_MEMORY_MIB;

const SIZE_MIB: u64 = 6 * 1024;

/// What this machine keeps for itself when the disk lies in memory.
const RESERVE_MIB: u64 = 2 * 1024;

/// `extra_attr` comes first: others need it.
const FEATURES: &str = "extra_attr,project_quota,compression,casefold,encrypt,verity,quota";

/// A disk without a name: it is gone when the last process that has it open ends.
#[derive(Debug)]
pub struct DataDisk {
    file: File,
    in_memory: bool,
}

impl DataDisk {
    /// Makes the disk, in memory if this machine has enough of it, so that the emulated disk is not
    /// what bounds a load; otherwise in `dir`.
    pub fn create(dir: &Path, log: &Path) -> Result<Self> {
        let in_memory = available_memory_mib()? >= SIZE_MIB + GUEST_MEMORY_MIB + RESERVE_MIB;
        let file = if in_memory {
            File::from(memfd_create("vts-data", MemfdFlags::CLOEXEC)?)
        } else {
            tempfile::tempfile_in(dir)
                .with_context(|| format!("cannot create the disk for /data in {}", dir.display()))?
        };
        file.set_len(SIZE_MIB << 20)?;
        let disk = Self { file, in_memory };
        run_logged(
            command("mkfs.f2fs")
                .args(["-f", "-g", "android", "-O", FEATURES, "-C", "utf8", "-l", "data"])
                .arg(disk.path()),
            log,
        )?;
        Ok(disk)
    }

    /// Path under which a child process can open the disk.
    pub fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Where the disk lies, for the log.
    pub fn place(&self) -> &'static str {
        if self.in_memory {
            "memory"
        } else {
            "a file"
        }
    }
}

fn available_memory_mib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    mem_available_mib(&text).context("/proc/meminfo has no MemAvailable")
}

fn mem_available_mib(meminfo: &str) -> Option<u64> {
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
        assert_eq!(mem_available_mib(text), Some(23437));
        assert_eq!(mem_available_mib("MemTotal: 1 kB\n"), None);
    }
}
