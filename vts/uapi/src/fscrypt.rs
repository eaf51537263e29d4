// SPDX-License-Identifier: Apache-2.0
//! fscrypt: adds and removes master keys, and encrypts directories.
//!
//! Source: `include/uapi/linux/fscrypt.h` of Linux 6.12, policies of version 2.

use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{ioctl, opcode, Opcode, Setter, Updater};

const FSCRYPT_POLICY_V2: u8 = 2;
const FSCRYPT_MODE_AES_256_XTS: u8 = 1;
const FSCRYPT_MODE_AES_256_CTS: u8 = 4;
/// File names are padded to multiples of 16 bytes, as on Android.
const FSCRYPT_POLICY_FLAGS_PAD_16: u8 = 2;
const FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER: u32 = 2;

/// Length of a master key in bytes.
pub const MASTER_KEY_BYTES: usize = 64;

/// The kernel's name of a master key: a hash of the key.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyIdentifier([u8; 16]);

/// `struct fscrypt_key_specifier`, with the identifier in its union.
#[repr(C)]
#[derive(Clone, Copy)]
struct KeySpecifier {
    kind: u32,
    reserved: u32,
    identifier: KeyIdentifier,
    rest_of_union: [u8; 16],
}

impl KeySpecifier {
    fn of(identifier: KeyIdentifier) -> Self {
        Self {
            kind: FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER,
            reserved: 0,
            identifier,
            rest_of_union: [0; 16],
        }
    }
}

/// `struct fscrypt_add_key_arg` without its key: the size that the opcode encodes.
#[repr(C)]
#[derive(Clone, Copy)]
struct AddKeyHeader {
    key_spec: KeySpecifier,
    raw_size: u32,
    key_id: u32,
    reserved: [u32; 8],
}

/// `struct fscrypt_add_key_arg` with its key.
#[repr(C)]
struct AddKeyArg {
    header: AddKeyHeader,
    raw: [u8; MASTER_KEY_BYTES],
}

/// `struct fscrypt_remove_key_arg`.
#[repr(C)]
struct RemoveKeyArg {
    key_spec: KeySpecifier,
    removal_status_flags: u32,
    reserved: [u32; 5],
}

/// `struct fscrypt_policy_v1`: only for the size that the opcode encodes.
#[repr(C)]
struct PolicyV1 {
    modes: [u8; 4],
    master_key_descriptor: [u8; 8],
}

/// `struct fscrypt_policy_v2`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PolicyV2 {
    version: u8,
    contents_encryption_mode: u8,
    filenames_encryption_mode: u8,
    flags: u8,
    log2_data_unit_size: u8,
    reserved: [u8; 3],
    master_key_identifier: KeyIdentifier,
}

/// Declared with `_IOR`, although the kernel reads the argument.
const FS_IOC_SET_ENCRYPTION_POLICY: Opcode = opcode::read::<PolicyV1>(b'f', 19);
const FS_IOC_ADD_ENCRYPTION_KEY: Opcode = opcode::read_write::<AddKeyHeader>(b'f', 23);
const FS_IOC_REMOVE_ENCRYPTION_KEY: Opcode = opcode::read_write::<RemoveKeyArg>(b'f', 24);

/// Adds a master key to a file system for the caller's uid. `on` is any file or directory of the
/// file system.
///
/// # Errors
/// - `NOTTY`, `OPNOTSUPP`: the file system does not support encryption, or not on this disk.
/// - `NOPKG`: the kernel lacks an algorithm.
pub fn add_key(on: impl AsFd, key: &[u8; MASTER_KEY_BYTES]) -> Result<KeyIdentifier> {
    let mut arg = AddKeyArg {
        header: AddKeyHeader {
            key_spec: KeySpecifier::of(KeyIdentifier([0; 16])),
            raw_size: MASTER_KEY_BYTES as u32,
            key_id: 0,
            reserved: [0; 8],
        },
        raw: *key,
    };
    // SAFETY: the opcode is FS_IOC_ADD_ENCRYPTION_KEY; `arg` is the 80-byte header (checked by a
    // test) followed by as many bytes as its `raw_size` says. The kernel writes only the
    // identifier, in which every bit pattern is valid; nothing else refers to `arg`.
    unsafe { ioctl(on.as_fd(), Updater::<FS_IOC_ADD_ENCRYPTION_KEY, _>::new(&mut arg))? };
    Ok(arg.header.key_spec.identifier)
}

/// Removes a master key that the caller's uid has added. Open files stay readable.
///
/// # Errors
/// `NOKEY`: the key is missing, or another uid has added it.
pub fn remove_key(on: impl AsFd, identifier: KeyIdentifier) -> Result<()> {
    let mut arg = RemoveKeyArg {
        key_spec: KeySpecifier::of(identifier),
        removal_status_flags: 0,
        reserved: [0; 5],
    };
    // SAFETY: the opcode is FS_IOC_REMOVE_ENCRYPTION_KEY, which reads and writes one `struct
    // fscrypt_remove_key_arg` (repr(C), its size checked by a test), exclusively borrowed.
    unsafe { ioctl(on.as_fd(), Updater::<FS_IOC_REMOVE_ENCRYPTION_KEY, _>::new(&mut arg)) }
}

/// Sets the policy of an empty directory: file content is encrypted by AES-256-XTS in units of a
/// block, names by AES-256-CTS.
///
/// # Errors
/// - `NOTTY`, `OPNOTSUPP`: the file system does not support encryption, or not on this disk.
/// - `NOKEY`: the caller's uid has not added the key.
/// - `NOTDIR`, `NOTEMPTY`, `EXIST`: not a directory, not empty, or it has another policy.
pub fn set_policy(directory: impl AsFd, identifier: KeyIdentifier) -> Result<()> {
    let policy = PolicyV2 {
        version: FSCRYPT_POLICY_V2,
        contents_encryption_mode: FSCRYPT_MODE_AES_256_XTS,
        filenames_encryption_mode: FSCRYPT_MODE_AES_256_CTS,
        flags: FSCRYPT_POLICY_FLAGS_PAD_16,
        log2_data_unit_size: 0,
        reserved: [0; 3],
        master_key_identifier: identifier,
    };
    // SAFETY: FS_IOC_SET_ENCRYPTION_POLICY reads as many bytes as the policy's first byte, its
    // version, implies: for version 2 the 24 of `struct fscrypt_policy_v2` (repr(C), checked by a
    // test). It writes nothing.
    unsafe { ioctl(directory.as_fd(), Setter::<FS_IOC_SET_ENCRYPTION_POLICY, _>::new(policy)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::mem::offset_of;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<KeySpecifier>(), 40);
        assert_eq!(offset_of!(KeySpecifier, identifier), 8);
        assert_eq!(size_of::<AddKeyHeader>(), 80);
        assert_eq!(offset_of!(AddKeyArg, raw), 80);
        assert_eq!(size_of::<RemoveKeyArg>(), 64);
        assert_eq!(size_of::<PolicyV1>(), 12);
        assert_eq!(size_of::<PolicyV2>(), 24);
        assert_eq!(offset_of!(PolicyV2, master_key_identifier), 8);
        assert_eq!(FS_IOC_SET_ENCRYPTION_POLICY, 0x800c_6613);
        assert_eq!(FS_IOC_ADD_ENCRYPTION_KEY, 0xc050_6617);
        assert_eq!(FS_IOC_REMOVE_ENCRYPTION_KEY, 0xc040_6618);
    }

    #[test]
    fn a_memfd_takes_no_key_and_no_policy() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"test", 4096).unwrap();
        assert_eq!(add_key(&memfd, &[0; MASTER_KEY_BYTES]), Err(Errno::NOTTY));
        assert_eq!(set_policy(&memfd, KeyIdentifier([0; 16])), Err(Errno::NOTTY));
        assert_eq!(remove_key(&memfd, KeyIdentifier([0; 16])), Err(Errno::NOTTY));
    }
}
