// SPDX-License-Identifier: Apache-2.0
//! sw_sync: makes fences that user space signals, as if it were a device.
//!
//! Source: `drivers/dma-buf/sw_sync.c` of Linux 6.12, which has no header for user space.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::ioctl::{ioctl, opcode, Opcode, Setter, Updater};

/// The file in debugfs each open of which makes a timeline; it needs `CONFIG_SW_SYNC`.
pub const TIMELINE_PATH: &str = "/sys/kernel/debug/sync/sw_sync";

/// `struct sw_sync_create_fence_data`.
#[repr(C)]
struct SwSyncCreateFenceData {
    value: u32,
    name: [u8; 32],
    fence: i32,
}

const SW_SYNC_IOC_CREATE_FENCE: Opcode = opcode::read_write::<SwSyncCreateFenceData>(b'W', 0);
const SW_SYNC_IOC_INC: Opcode = opcode::write::<u32>(b'W', 1);

/// A counter that starts at 0 and signals each of its fences when it reaches the fence's value.
///
/// Dropping the timeline signals the fences that are left, with the error `ENOENT`.
#[derive(Debug)]
pub struct Timeline {
    file: OwnedFd,
}

impl Timeline {
    /// Makes a timeline.
    ///
    /// # Errors
    /// - `NOENT`: the kernel has no sw_sync, or debugfs is not mounted.
    /// - `ACCESS`: the caller may not open files of debugfs.
    pub fn create() -> Result<Self> {
        let file = open(TIMELINE_PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { file })
    }

    /// Makes a fence, as a sync_file, that signals when the counter reaches `value`.
    ///
    /// # Errors
    /// `NOMEM`, `MFILE`.
    pub fn create_fence(&self, value: u32) -> Result<OwnedFd> {
        let mut data = SwSyncCreateFenceData { value, name: [0; 32], fence: -1 };
        // SAFETY: the opcode is SW_SYNC_IOC_CREATE_FENCE and `data` has the layout the kernel
        // defines for it (repr(C), 40 bytes, checked by a test); the file is a timeline.
        unsafe { ioctl(&self.file, Updater::<SW_SYNC_IOC_CREATE_FENCE, _>::new(&mut data))? };
        if data.fence < 0 {
            return Err(Errno::BADF);
        }
        // SAFETY: on success the kernel has installed a new fd in this process and passed its
        // ownership to the caller.
        let fence = unsafe { OwnedFd::from_raw_fd(data.fence) };
        rustix::io::fcntl_setfd(&fence, rustix::io::FdFlags::CLOEXEC)?;
        Ok(fence)
    }

    /// Adds `steps` to the counter.
    ///
    /// # Errors
    /// None that the kernel documents.
    pub fn advance(&self, steps: u32) -> Result<()> {
        // SAFETY: the opcode is SW_SYNC_IOC_INC, which reads one `__u32` and writes nothing back.
        unsafe { ioctl(self.file.as_fd(), Setter::<SW_SYNC_IOC_INC, u32>::new(steps)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_match_the_kernel_source() {
        assert_eq!(size_of::<SwSyncCreateFenceData>(), 40);
        assert_eq!(std::mem::offset_of!(SwSyncCreateFenceData, fence), 36);
        assert_eq!(SW_SYNC_IOC_CREATE_FENCE, 0xc028_5700);
        assert_eq!(SW_SYNC_IOC_INC, 0x4004_5701);
    }
}
