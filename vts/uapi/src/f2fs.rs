// SPDX-License-Identifier: Apache-2.0
//! F2FS: pins a file, so that its blocks are not moved.
//!
//! Source: `include/uapi/linux/f2fs.h` of Linux 6.12.

use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{ioctl, opcode, Opcode, Setter};

const F2FS_IOCTL_MAGIC: u8 = 0xf5;

const F2FS_IOC_SET_PIN_FILE: Opcode = opcode::write::<u32>(F2FS_IOCTL_MAGIC, 13);

/// Pins a file without blocks: its blocks are overwritten in place from then on and not moved.
///
/// # Errors
/// - `FBIG`: the file has blocks.
/// - `INVAL`: not a regular file, or a mount that overwrites nothing in place.
/// - `OPNOTSUPP`: the file is compressed.
/// - `NOTTY`: the file system is not F2FS.
pub fn pin(file: impl AsFd) -> Result<()> {
    // SAFETY: F2FS_IOC_SET_PIN_FILE reads one `__u32` through the pointer that Setter passes, and
    // writes nothing.
    unsafe { ioctl(file.as_fd(), Setter::<F2FS_IOC_SET_PIN_FILE, u32>::new(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn opcodes_match_the_kernel_header() {
        assert_eq!(F2FS_IOC_SET_PIN_FILE, 0x4004_f50d);
    }

    #[test]
    fn only_a_file_of_f2fs_can_be_pinned() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"test", 4096).unwrap();
        assert_eq!(pin(&memfd), Err(Errno::NOTTY));
    }
}
