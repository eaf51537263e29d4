// SPDX-License-Identifier: Apache-2.0
//! fs-verity digests: what the kernel checks every read of a file against.
//!
//! Source: `include/uapi/linux/fsverity.h` of Linux 6.12.

use std::fmt;
use std::os::fd::AsFd;

use rustix::io::{Errno, Result};
use rustix::ioctl::{ioctl, opcode, Opcode, Updater};

const FS_VERITY_HASH_ALG_SHA256: u16 = 1;
const FS_VERITY_HASH_ALG_SHA512: u16 = 2;
/// `FS_VERITY_MAX_DIGEST_SIZE` of `include/linux/fsverity.h`.
const MAX_DIGEST_BYTES: usize = 64;

/// What the hash tree of a file is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Length of a digest in bytes.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn of_number(number: u16) -> Option<Self> {
        match number {
            FS_VERITY_HASH_ALG_SHA256 => Some(Self::Sha256),
            FS_VERITY_HASH_ALG_SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// The fs-verity digest of a file: the hash of the root of its hash tree, its size and the
/// parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    algorithm: Algorithm,
    /// Zero after the algorithm's length.
    bytes: [u8; MAX_DIGEST_BYTES],
}

impl Digest {
    /// A digest of these bytes; `None` where the algorithm's are not so many.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        let mut padded = [0; MAX_DIGEST_BYTES];
        if bytes.len() != algorithm.digest_bytes() {
            return None;
        }
        padded[..bytes.len()].copy_from_slice(bytes);
        Some(Self { algorithm, bytes: padded })
    }

    /// What it is made with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its bytes, as many as the algorithm's digests have.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.digest_bytes()]
    }
}

/// `sha256:` or `sha512:` and the digest in hexadecimal, as `fsverity measure` prints it.
impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.algorithm {
            Algorithm::Sha256 => "sha256:",
            Algorithm::Sha512 => "sha512:",
        })?;
        self.bytes().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

/// `struct fsverity_digest` without its digest: what the opcode counts.
#[repr(C)]
#[derive(Clone, Copy)]
struct DigestHeader {
    digest_algorithm: u16,
    digest_size: u16,
}

/// `struct fsverity_digest` with room for any digest.
#[repr(C)]
struct MeasureArg {
    header: DigestHeader,
    digest: [u8; MAX_DIGEST_BYTES],
}

const FS_IOC_MEASURE_VERITY: Opcode = opcode::read_write::<DigestHeader>(b'f', 134);

/// The digest that the kernel enforces for every read of the file.
///
/// On FUSE the kernel passes on what the file system's server says and enforces nothing; `verity`
/// of [`FileAttributes`](crate::file_attributes::FileAttributes) is false there.
///
/// # Errors
/// - `NODATA`: the file has no fs-verity.
/// - `NOTTY`, `OPNOTSUPP`: the file system has no fs-verity, or not on this disk.
/// - `OVERFLOW`, `NOPKG`: the digest is longer than those of SHA-512, or of an algorithm that is
///   not known here.
pub fn measure(file: impl AsFd) -> Result<Digest> {
    let mut arg = MeasureArg {
        header: DigestHeader { digest_algorithm: 0, digest_size: MAX_DIGEST_BYTES as u16 },
        digest: [0; MAX_DIGEST_BYTES],
    };
    // SAFETY: the opcode is FS_IOC_MEASURE_VERITY; `arg` is the 4-byte header (checked by a test)
    // followed by as many bytes as its `digest_size` says, all of which the kernel may write and
    // nothing else refers to.
    unsafe { ioctl(file.as_fd(), Updater::<FS_IOC_MEASURE_VERITY, _>::new(&mut arg))? };
    let DigestHeader { digest_algorithm, digest_size } = arg.header;
    let bytes = arg.digest.get(..digest_size.into());
    Algorithm::of_number(digest_algorithm)
        .zip(bytes)
        .and_then(|(algorithm, bytes)| Digest::new(algorithm, bytes))
        .ok_or(Errno::NOPKG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<DigestHeader>(), 4);
        assert_eq!(offset_of!(MeasureArg, digest), 4);
        assert_eq!(size_of::<MeasureArg>(), 4 + 64);
        assert_eq!(FS_IOC_MEASURE_VERITY, 0xc004_6686);
    }

    #[test]
    fn a_digest_has_the_length_of_its_algorithm() {
        for (algorithm, len, text) in
            [(Algorithm::Sha256, 32, "sha256:"), (Algorithm::Sha512, 64, "sha512:")]
        {
            let digest = Digest::new(algorithm, &vec![0xa5; len]).unwrap();
            assert_eq!(digest.bytes(), vec![0xa5; len]);
            assert_eq!(digest.to_string(), format!("{text}{}", "a5".repeat(len)));
            for wrong in [0, 16, len - 1, len + 1] {
                assert_eq!(Digest::new(algorithm, &vec![0; wrong]), None);
            }
        }
        let same_bytes = |algorithm| Digest::new(algorithm, &[0; 32]);
        assert_ne!(same_bytes(Algorithm::Sha256), same_bytes(Algorithm::Sha512));
    }

    #[test]
    fn algorithms_have_the_numbers_of_the_kernel_header() {
        let known: Vec<Option<Algorithm>> = (0..4).map(Algorithm::of_number).collect();
        assert_eq!(known, [None, Some(Algorithm::Sha256), Some(Algorithm::Sha512), None]);
    }

    #[test]
    fn a_memfd_has_no_verity() {
        let memfd = crate::memfd::create_sealed(c"test", 4096).unwrap();
        assert_eq!(measure(&memfd), Err(Errno::NOTTY));
    }
}
