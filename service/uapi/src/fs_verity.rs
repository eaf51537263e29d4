// SPDX-License-Identifier: Apache-2.0
//! fs-verity: files that cannot change any more, and whose every read is checked.
//!
//! Source: `include/uapi/linux/fsverity.h` of Linux 6.12.

use std::os::fd::AsFd;

use rustix::io::{Errno, Result};
use rustix::ioctl::{ioctl, opcode, Opcode, Setter, Updater};

const FS_VERITY_HASH_ALG_SHA256: u16 = 1;
const BLOCK_BYTES: u32 = 4096;

/// Length of a SHA-256 digest in bytes.
pub const DIGEST_BYTES: usize = 32;

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

/// `struct fsverity_digest` without its digest: what the opcode counts.
#[repr(C)]
#[derive(Clone, Copy)]
struct DigestHeader {
    digest_algorithm: u16,
    digest_size: u16,
}

/// `struct fsverity_digest` with room for the digest.
#[repr(C)]
struct Digest {
    header: DigestHeader,
    digest: [u8; DIGEST_BYTES],
}

const FS_IOC_ENABLE_VERITY: Opcode = opcode::write::<EnableArg>(b'f', 133);
const FS_IOC_MEASURE_VERITY: Opcode = opcode::read_write::<DigestHeader>(b'f', 134);

/// Builds the file's hash tree, SHA-256 over blocks of 4096 bytes without a salt, and makes its content unchangeable.
/// `file` is open for reading, and nobody has it open for writing.
///
/// # Errors
/// - `NOTTY`, `OPNOTSUPP`: the file system has no fs-verity, or not on this disk.
/// - `TXTBSY`: somebody has the file open for writing.
/// - `EXIST`: the file has it already.
pub fn enable(file: impl AsFd) -> Result<()> {
    let arg = EnableArg {
        version: 1,
        hash_algorithm: FS_VERITY_HASH_ALG_SHA256.into(),
        block_size: BLOCK_BYTES,
        ..EnableArg::default()
    };
    // SAFETY: the opcode is FS_IOC_ENABLE_VERITY, which reads one `struct fsverity_enable_arg` (repr(C), its size and
    // offsets checked by a test) and writes nothing. The sizes of salt and signature are 0, so that their null pointers
    // are not followed.
    unsafe { ioctl(file.as_fd(), Setter::<FS_IOC_ENABLE_VERITY, _>::new(arg)) }
}

/// The file's fs-verity digest: SHA-256 of the root of its hash tree, its size and the parameters.
///
/// # Errors
/// - `NODATA`: the file has no fs-verity.
/// - `OVERFLOW`: its digest is longer than one of SHA-256.
/// - `OPNOTSUPP`: its digest is not SHA-256.
/// - `NOTTY`: the file system has no fs-verity.
pub fn measure(file: impl AsFd) -> Result<[u8; DIGEST_BYTES]> {
    let mut arg = Digest {
        header: DigestHeader { digest_algorithm: 0, digest_size: DIGEST_BYTES as u16 },
        digest: [0; DIGEST_BYTES],
    };
    // SAFETY: the opcode is FS_IOC_MEASURE_VERITY; `arg` is the 4-byte header (checked by a test) followed by as many
    // bytes as its `digest_size` says, all of which the kernel may write and nothing else refers to.
    unsafe { ioctl(file.as_fd(), Updater::<FS_IOC_MEASURE_VERITY, _>::new(&mut arg))? };
    let header = arg.header;
    if header.digest_algorithm != FS_VERITY_HASH_ALG_SHA256 {
        return Err(Errno::OPNOTSUPP);
    }
    Ok(arg.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<EnableArg>(), 128);
        assert_eq!(offset_of!(EnableArg, salt_ptr), 16);
        assert_eq!(offset_of!(EnableArg, sig_ptr), 32);
        assert_eq!(size_of::<DigestHeader>(), 4);
        assert_eq!(offset_of!(Digest, digest), 4);
        assert_eq!(FS_IOC_ENABLE_VERITY, 0x4080_6685);
        assert_eq!(FS_IOC_MEASURE_VERITY, 0xc004_6686);
    }

    #[test]
    fn a_memfd_has_no_verity() {
        let memfd = crate::memfd::create_sealed(c"test", 4096).unwrap();
        assert_eq!(measure(&memfd), Err(Errno::NOTTY));
        assert_eq!(enable(&memfd), Err(Errno::NOTTY));
    }
}
