// SPDX-License-Identifier: Apache-2.0
//! Enables fs-verity on a file, whose content cannot change from then on;
//! [`dmabuf_uapi::fs_verity`] measures it.
//!
//! Source: `include/uapi/linux/fsverity.h` of Linux 6.12.

use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{ioctl, opcode, Opcode, Setter};

const FS_VERITY_HASH_ALG_SHA256: u32 = 1;
const BLOCK_BYTES: u32 = 4096;

/// `struct fsverity_enable_arg`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct EnableArg {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt_ptr: u64,
    sig_size: u32,
    reserved1: u32,
    sig_ptr: u64,
    reserved2: [u64; 11],
}

const FS_IOC_ENABLE_VERITY: Opcode = opcode::write::<EnableArg>(b'f', 133);

/// Builds the file's hash tree, SHA-256 over blocks of 4096 bytes without a salt, and makes its
/// content immutable. `file` must be open for reading, and no process may have it open for
/// writing.
///
/// # Errors
/// - `NOTTY`, `OPNOTSUPP`: the file system does not support fs-verity, or not on this disk.
/// - `TXTBSY`: a process has the file open for writing.
/// - `EXIST`: the file already has fs-verity.
pub fn enable(file: impl AsFd) -> Result<()> {
    let arg = EnableArg {
        version: 1,
        hash_algorithm: FS_VERITY_HASH_ALG_SHA256,
        block_size: BLOCK_BYTES,
        ..EnableArg::default()
    };
    // SAFETY: the opcode is FS_IOC_ENABLE_VERITY, which reads one `struct fsverity_enable_arg`
    // (repr(C), its size and offsets checked by a test) and writes nothing. The sizes of salt and
    // signature are 0, so that their null pointers are not followed.
    unsafe { ioctl(file.as_fd(), Setter::<FS_IOC_ENABLE_VERITY, _>::new(arg)) }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;
    use rustix::io::Errno;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<EnableArg>(), 128);
        assert_eq!(offset_of!(EnableArg, salt_ptr), 16);
        assert_eq!(offset_of!(EnableArg, sig_ptr), 32);
        assert_eq!(FS_IOC_ENABLE_VERITY, 0x4080_6685);
    }

    #[test]
    fn a_memfd_has_no_verity() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"test", 4096).unwrap();
        assert_eq!(enable(&memfd), Err(Errno::NOTTY));
    }
}
