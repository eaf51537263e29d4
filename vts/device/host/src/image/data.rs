// SPDX-License-Identifier: Apache-2.0
//! The disk for /data: an empty F2FS with the features Android's has.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{memfd_create, MemfdFlags};

use crate::command::{command, run_logged};
use crate::host_memory::{self, Size};

/// `extra_attr` comes first: others need it.
const FEATURES: &str = "extra_attr,project_quota,compression,casefold,encrypt,verity,quota";

/// A disk in an unlinked file: it is freed when no process has it open any more.
#[derive(Debug)]
pub struct DataDisk {
    file: File,
    in_memory: bool,
}

impl DataDisk {
    /// Makes the disk in memory if that has room for disk and device, so that the emulated disk
    /// does not limit loads; otherwise in `dir`.
    pub fn create(size: Size, dir: &Path, log: &Path) -> Result<Self> {
        let in_memory = host_memory::has_room_for(size.total_mib())?;
        let file = if in_memory {
            File::from(memfd_create("vts-data", MemfdFlags::CLOEXEC)?)
        } else {
            tempfile::tempfile_in(dir)
                .with_context(|| format!("cannot create the disk for /data in {}", dir.display()))?
        };
        file.set_len(size.data_disk_mib << 20)?;
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

    /// The disk, for a server of it in this process.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether the disk is in memory.
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }
}
