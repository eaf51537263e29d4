// SPDX-License-Identifier: Apache-2.0
//! DRM PRIME: attaches a dma-buf to a DRM device, and exports the device's own memory as a dma-buf.
//!
//! With the driver vgem, which needs no hardware, any machine can import and export dma-bufs.
//!
//! Source: `include/uapi/drm/drm.h`, `include/uapi/drm/drm_mode.h` of Linux 6.12.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::ioctl::{ioctl, opcode, Setter, Updater};

/// The directory in sysfs that holds one entry per DRM device node.
pub const DRM_CLASS_DIR: &str = "/sys/class/drm";

/// `struct drm_gem_close`.
#[repr(C)]
struct DrmGemClose {
    handle: u32,
    pad: u32,
}

/// `struct drm_prime_handle`.
#[repr(C)]
struct DrmPrimeHandle {
    handle: u32,
    flags: u32,
    fd: i32,
}

/// `struct drm_mode_create_dumb`.
#[repr(C)]
struct DrmModeCreateDumb {
    height: u32,
    width: u32,
    bpp: u32,
    flags: u32,
    handle: u32,
    pitch: u32,
    size: u64,
}

const DRM_IOCTL_GEM_CLOSE: rustix::ioctl::Opcode = opcode::write::<DrmGemClose>(b'd', 0x09);
const DRM_IOCTL_PRIME_HANDLE_TO_FD: rustix::ioctl::Opcode =
    opcode::read_write::<DrmPrimeHandle>(b'd', 0x2d);
const DRM_IOCTL_PRIME_FD_TO_HANDLE: rustix::ioctl::Opcode =
    opcode::read_write::<DrmPrimeHandle>(b'd', 0x2e);
const DRM_IOCTL_MODE_CREATE_DUMB: rustix::ioctl::Opcode =
    opcode::read_write::<DrmModeCreateDumb>(b'd', 0xb2);

/// Finds the node of the first primary DRM device (`cardN`) whose parent device is called `name`,
/// for example `vgem`.
pub fn find_card(name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(DRM_CLASS_DIR).ok()?;
    entries.flatten().find_map(|entry| {
        let card = entry.file_name().into_string().ok()?;
        let number = card.strip_prefix("card")?;
        let device = std::fs::read_link(entry.path().join("device")).ok()?;
        (number.parse::<u32>().is_ok() && device.file_name()? == name)
            .then(|| Path::new("/dev/dri").join(card))
    })
}

/// Opens a DRM device node for reading and writing.
///
/// # Errors
/// Those of `open(2)`: `NOENT`, `ACCESS`.
pub fn open_card(node: &Path) -> Result<OwnedFd> {
    open(node, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// A GEM object of an open DRM device, closed on drop.
#[derive(Debug)]
pub struct GemHandle<'card> {
    card: BorrowedFd<'card>,
    handle: u32,
}

impl<'card> GemHandle<'card> {
    /// Attaches a dma-buf to the device; it stays attached until this value is dropped.
    ///
    /// # Errors
    /// - `INVAL`: the fd is not a dma-buf.
    /// - `BUSY`: another user of the buffer excludes it.
    /// - `NOSYS`, `OPNOTSUPP`: the driver does not import dma-bufs.
    pub fn import(card: BorrowedFd<'card>, buffer: impl AsFd) -> Result<Self> {
        let fd = buffer.as_fd().as_raw_fd();
        let mut data = DrmPrimeHandle { handle: 0, flags: 0, fd };
        // SAFETY: the opcode is DRM_IOCTL_PRIME_FD_TO_HANDLE and `data` has the layout the kernel
        // defines for it (repr(C), 12 bytes, checked by a test); a file that is not a DRM device
        // does not touch it.
        unsafe { ioctl(card, Updater::<DRM_IOCTL_PRIME_FD_TO_HANDLE, _>::new(&mut data))? };
        Ok(Self { card, handle: data.handle })
    }

    /// Makes a zeroed object of at least `len_bytes` bytes in the device's own memory.
    ///
    /// # Errors
    /// - `INVAL`: the length is 0, or at least 4 GiB.
    /// - `NOMEM`; and `NOSYS` if the driver has no such memory.
    pub fn create(card: BorrowedFd<'card>, len_bytes: u64) -> Result<Self> {
        let height = u32::try_from(len_bytes.div_ceil(4096)).map_err(|_| Errno::INVAL)?;
        let mut data = DrmModeCreateDumb {
            height,
            width: 4096,
            bpp: 8,
            flags: 0,
            handle: 0,
            pitch: 0,
            size: 0,
        };
        // SAFETY: the opcode is DRM_IOCTL_MODE_CREATE_DUMB and `data` has the layout the kernel
        // defines for it (repr(C), 32 bytes, checked by a test); a file that is not a DRM device
        // does not touch it.
        unsafe { ioctl(card, Updater::<DRM_IOCTL_MODE_CREATE_DUMB, _>::new(&mut data))? };
        Ok(Self { card, handle: data.handle })
    }

    /// Exports the object as a dma-buf, open for reading, and for writing if `writable`.
    ///
    /// # Errors
    /// `NOSYS` if the driver does not export dma-bufs, and the errors of the exporter.
    pub fn export(&self, writable: bool) -> Result<OwnedFd> {
        let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = (access | OFlags::CLOEXEC).bits();
        let mut data = DrmPrimeHandle { handle: self.handle, flags, fd: -1 };
        // SAFETY: as in `import`, for DRM_IOCTL_PRIME_HANDLE_TO_FD.
        unsafe { ioctl(self.card, Updater::<DRM_IOCTL_PRIME_HANDLE_TO_FD, _>::new(&mut data))? };
        if data.fd < 0 {
            return Err(Errno::BADF);
        }
        // SAFETY: on success the kernel has installed a new fd in this process and passed its
        // ownership to the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(data.fd) })
    }
}

impl Drop for GemHandle<'_> {
    fn drop(&mut self) {
        let data = DrmGemClose { handle: self.handle, pad: 0 };
        // SAFETY: the opcode is DRM_IOCTL_GEM_CLOSE, which reads one `struct drm_gem_close` and
        // writes nothing back.
        let _ = unsafe { ioctl(self.card, Setter::<DRM_IOCTL_GEM_CLOSE, _>::new(data)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<DrmGemClose>(), 8);
        assert_eq!(size_of::<DrmPrimeHandle>(), 12);
        assert_eq!(size_of::<DrmModeCreateDumb>(), 32);
        assert_eq!(DRM_IOCTL_GEM_CLOSE, 0x4008_6409);
        assert_eq!(DRM_IOCTL_PRIME_HANDLE_TO_FD, 0xc00c_642d);
        assert_eq!(DRM_IOCTL_PRIME_FD_TO_HANDLE, 0xc00c_642e);
        assert_eq!(DRM_IOCTL_MODE_CREATE_DUMB, 0xc020_64b2);
    }

    #[test]
    fn a_file_must_be_a_drm_device() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(GemHandle::create(null.as_fd(), 4096).unwrap_err(), Errno::NOTTY);
        assert_eq!(GemHandle::import(null.as_fd(), &null).unwrap_err(), Errno::NOTTY);
    }
}
