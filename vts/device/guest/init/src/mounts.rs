// SPDX-License-Identifier: Apache-2.0
//! Mounting.

use std::ffi::CString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use rustix::mount::MountFlags;

/// How long the kernel may take to find a disk.
const DISK_TIMEOUT: Duration = Duration::from_secs(10);

/// Mounts `device` on `dir`. `options` holds flags such as `nosuid` and file-system options.
pub fn mount(fs_type: &str, device: &str, dir: &str, options: &[&str]) -> Result<()> {
    let mut flags = MountFlags::empty();
    let mut data: Vec<&str> = Vec::new();
    for option in options {
        match *option {
            "ro" => flags |= MountFlags::RDONLY,
            "noatime" => flags |= MountFlags::NOATIME,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            other => data.push(other),
        }
    }
    let data = CString::new(data.join(","))?;
    let data = (!data.is_empty()).then_some(data.as_c_str());
    rustix::mount::mount(device, dir, fs_type, flags, data).with_context(|| {
        format!("mounting {fs_type} {device} on {dir} with '{}'", options.join(" "))
    })
}

/// Which read-only file system a disk holds, by its superblock: `ext4` or `erofs`.
pub fn detect(device: &Path) -> Result<&'static str> {
    const SUPERBLOCK_OFFSET: u64 = 1024;
    let disk = File::open(device).with_context(|| format!("opening {}", device.display()))?;
    let mut superblock = [0u8; 64];
    disk.read_exact_at(&mut superblock, SUPERBLOCK_OFFSET)
        .with_context(|| format!("reading {}", device.display()))?;
    identify(&superblock).with_context(|| format!("{} is neither ext4 nor erofs", device.display()))
}

fn identify(superblock: &[u8; 64]) -> Option<&'static str> {
    const EROFS_MAGIC: [u8; 4] = 0xE0F5_E1E2_u32.to_le_bytes();
    const EXT4_MAGIC: [u8; 2] = 0xEF53_u16.to_le_bytes();
    if superblock.starts_with(&EROFS_MAGIC) {
        Some("erofs")
    } else if superblock[56..58] == EXT4_MAGIC {
        Some("ext4")
    } else {
        None
    }
}

/// Waits until the kernel has found a disk.
pub fn wait_for(device: &Path) -> Result<()> {
    let deadline = Instant::now() + DISK_TIMEOUT;
    while !device.exists() {
        if Instant::now() > deadline {
            bail!("{} did not appear within {DISK_TIMEOUT:?}", device.display());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The value of `key=` on the kernel command line.
pub fn cmdline_value(cmdline: &str, key: &str) -> Option<String> {
    cmdline
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblocks() {
        let mut block = [0u8; 64];
        assert_eq!(identify(&block), None);
        block[56..58].copy_from_slice(&[0x53, 0xEF]);
        assert_eq!(identify(&block), Some("ext4"));
        block[..4].copy_from_slice(&[0xE2, 0xE1, 0xF5, 0xE0]);
        assert_eq!(identify(&block), Some("erofs"));
    }

    #[test]
    fn command_line() {
        let cmdline = "console=ttyS0 quiet vts.system_fs=erofs androidboot.console=ttyS1\n";
        assert_eq!(cmdline_value(cmdline, "vts.system_fs").as_deref(), Some("erofs"));
        assert_eq!(cmdline_value(cmdline, "quiet"), None);
    }
}
