// SPDX-License-Identifier: Apache-2.0
//! Digests that a request compares or asks for: SHA-256 of the loaded bytes, fs-verity of the
//! files.

use std::fmt;

use dmabuf_uapi::fs_verity::Digest;

use crate::error::{Argument, EngineError, Result};

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A file of a request and its fs-verity digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// Index into the request's files.
    pub file_index: usize,
    /// The digest that the kernel enforces.
    pub digest: Digest,
}

/// The digests that a load compares and reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestRequest {
    /// The digest that the loaded bytes must have.
    pub expected_sha256: Option<Sha256>,
    /// Whether to report the digest of the loaded bytes.
    pub report_sha256: bool,
    /// The fs-verity digests that files must have, at most one for each file.
    pub expected_verity: Vec<FileDigest>,
    /// Whether to report the fs-verity digest of every file that has one.
    pub report_verity: bool,
}

impl DigestRequest {
    /// Whether the loaded bytes have to be digested.
    pub(crate) fn wants_sha256(&self) -> bool {
        self.expected_sha256.is_some() || self.report_sha256
    }
}

/// Checks that each expected fs-verity digest is for a file of the request, and no two for the
/// same.
///
/// # Errors
/// [`EngineError::BadArgument`].
pub(crate) fn check_verity_indices(expected: &[FileDigest], file_count: usize) -> Result<()> {
    for (index, FileDigest { file_index, .. }) in expected.iter().enumerate() {
        let bad = |problem| EngineError::bad_argument(Argument::ExpectedVerityFile(index), problem);
        if *file_index >= file_count {
            return Err(bad(format!("is {file_index}, but files has {file_count} elements")));
        }
        let same = |earlier: &FileDigest| earlier.file_index == *file_index;
        if let Some(earlier) = expected[..index].iter().position(same) {
            return Err(bad(format!("is {file_index}, as in entry {earlier}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dmabuf_uapi::fs_verity::Algorithm;

    use super::*;

    fn of_file(file_index: usize) -> FileDigest {
        FileDigest { file_index, digest: Digest::new(Algorithm::Sha256, &[0; 32]).unwrap() }
    }

    #[test]
    fn each_digest_is_for_another_file_of_the_request() {
        assert_eq!(check_verity_indices(&[], 1), Ok(()));
        assert_eq!(check_verity_indices(&[of_file(1), of_file(0)], 2), Ok(()));
        let error = |expected: &[FileDigest]| check_verity_indices(expected, 2).unwrap_err();
        assert_eq!(
            error(&[of_file(1), of_file(2)]),
            EngineError::bad_argument(
                Argument::ExpectedVerityFile(1),
                "is 2, but files has 2 elements"
            )
        );
        assert_eq!(
            error(&[of_file(0), of_file(1), of_file(1)]),
            EngineError::bad_argument(Argument::ExpectedVerityFile(2), "is 1, as in entry 1")
        );
    }
}
