// SPDX-License-Identifier: Apache-2.0
//! fs-verity: whether a file is the one that the caller means, known before its first byte is loaded.
//!
//! The digest stands for the root of the file's hash tree. The kernel checks every block of the file against that tree
//! when it brings the block into the page cache, and the file can never change again: a file with the expected digest
//! yields the expected bytes, or `EIO` ([`EngineError::Io`]), whatever part of it is loaded. A SHA-256 of the loaded bytes
//! is about the buffer and costs a hash over all of them; this is about the file, up to its copy into the buffer.
//!
//! It holds on every path. None is direct on such a file (see [`crate::file`]), and F2FS, ext4 and btrfs read through the
//! page cache even on an fd with `O_DIRECT`. copy_file_range with the kernel patch reads by the file system's own
//! `read_iter`. A file that is opened again is compared by its inode.
//!
//! Only what the kernel itself enforces counts. On FUSE it passes on a digest that the server made up; `statx` reports no
//! fs-verity there, and without that report the file has none here. It also spares files without fs-verity the ioctl.

use dmabuf_uapi::fs_verity::measure;
use dmabuf_uapi::Errno;

use crate::error::{EngineError, Result};
use crate::file::OpenFile;
use crate::request::LoadRequest;

pub use dmabuf_uapi::fs_verity::{Algorithm, Digest};

/// A file of a request and its fs-verity digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// Index into the request's files.
    pub file_index: usize,
    /// What the kernel enforces.
    pub digest: Digest,
}

/// How errors name an expected digest.
pub fn expected_argument(index: usize) -> String {
    format!("digests.expectedVerity[{index}]")
}

/// Checks that each expected digest is for a file of the request, and no two for the same.
///
/// # Errors
/// [`EngineError::BadArgument`].
pub(crate) fn check_indices(expected: &[FileDigest], file_count: usize) -> Result<()> {
    for (index, FileDigest { file_index, .. }) in expected.iter().enumerate() {
        let bad = |problem| {
            EngineError::bad_argument(format!("{}.fileIndex", expected_argument(index)), problem)
        };
        if *file_index >= file_count {
            return Err(bad(format!("is {file_index}, but files has {file_count} elements")));
        }
        let same = |earlier: &FileDigest| earlier.file_index == *file_index;
        if let Some(earlier) = expected[..index].iter().position(same) {
            return Err(bad(format!("is {file_index}, as in {}", expected_argument(earlier))));
        }
    }
    Ok(())
}

/// Compares the files with what the request expects; returns the digests of the files that it asks about and that have
/// one, in the order of the files.
///
/// # Errors
/// [`EngineError::VerityMismatch`]; [`EngineError::Io`] where the kernel does not tell the digest.
pub(crate) fn check(request: &LoadRequest<'_>, files: &[OpenFile<'_>]) -> Result<Vec<FileDigest>> {
    let expected = &request.expected_verity;
    if expected.is_empty() && !request.report_verity {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (file_index, file) in files.iter().enumerate() {
        let expectation = expected.iter().position(|digest| digest.file_index == file_index);
        if expectation.is_none() && !request.report_verity {
            continue;
        }
        let digest = digest_of(file, file_index)?;
        if let Some(index) = expectation {
            compare(index, expected[index], digest)?;
        }
        found.extend(digest.map(|digest| FileDigest { file_index, digest }));
    }
    Ok(found)
}

fn digest_of(file: &OpenFile<'_>, file_index: usize) -> Result<Option<Digest>> {
    if !file.has_verity() {
        return Ok(None);
    }
    match measure(file.any_fd()) {
        Ok(digest) => Ok(Some(digest)),
        Err(Errno::NODATA | Errno::NOTTY | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => {
            Err(EngineError::io(format!("files[{file_index}]: FS_IOC_MEASURE_VERITY"), errno))
        }
    }
}

fn compare(index: usize, expected: FileDigest, found: Option<Digest>) -> Result<()> {
    if found == Some(expected.digest) {
        return Ok(());
    }
    Err(EngineError::VerityMismatch {
        argument: expected_argument(index),
        file_index: expected.file_index,
        expected: expected.digest.to_string(),
        found: found.map(|digest| digest.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::path::Direction;
    use crate::request::{ClientId, NewBuffer, Target};

    fn digest(byte: u8) -> Digest {
        Digest::new(Algorithm::Sha256, &[byte; 32]).unwrap()
    }

    fn of_file(file_index: usize) -> FileDigest {
        FileDigest { file_index, digest: digest(0) }
    }

    #[test]
    fn each_digest_is_for_another_file_of_the_request() {
        assert_eq!(check_indices(&[], 1), Ok(()));
        assert_eq!(check_indices(&[of_file(1), of_file(0)], 2), Ok(()));
        let problem = |expected: &[FileDigest]| check_indices(expected, 2).unwrap_err().to_string();
        assert_eq!(
            problem(&[of_file(1), of_file(2)]),
            "digests.expectedVerity[1].fileIndex: is 2, but files has 2 elements"
        );
        assert_eq!(
            problem(&[of_file(0), of_file(1), of_file(1)]),
            "digests.expectedVerity[2].fileIndex: is 1, as in digests.expectedVerity[1]"
        );
    }

    #[test]
    fn only_the_expected_digest_passes() {
        let expected = FileDigest { file_index: 3, digest: digest(1) };
        assert_eq!(compare(2, expected, Some(digest(1))), Ok(()));
        let zeros = "00".repeat(32);
        let ones = "01".repeat(32);
        assert_eq!(
            compare(2, expected, Some(digest(0))).unwrap_err().to_string(),
            format!(
                "digests.expectedVerity[2]: files[3] has the fs-verity digest sha256:{zeros}, expected sha256:{ones}"
            )
        );
        assert_eq!(
            compare(2, expected, None).unwrap_err().to_string(),
            format!("digests.expectedVerity[2]: files[3] has no fs-verity, expected sha256:{ones}")
        );
        // The same bytes by another algorithm are another digest.
        let long = Digest::new(Algorithm::Sha512, &[1; 64]).unwrap();
        assert!(compare(2, expected, Some(long)).is_err());
    }

    #[test]
    fn a_file_without_fs_verity_is_refused_where_one_is_expected_and_else_reported_without() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"f", 4096).unwrap();
        let inspect =
            || OpenFile::inspect(memfd.as_fd(), || "files[0]".to_owned(), Direction::Load).unwrap();
        let files = [inspect(), inspect()];
        let target = Target::New(NewBuffer::default());
        let mut request = LoadRequest::new(ClientId(0), target, vec![memfd.as_fd(); 2], Vec::new());
        assert_eq!(check(&request, &files), Ok(Vec::new()));
        request.report_verity = true;
        assert_eq!(check(&request, &files), Ok(Vec::new()));
        request.expected_verity = vec![of_file(1)];
        for report_verity in [false, true] {
            request.report_verity = report_verity;
            let error = check(&request, &files).unwrap_err();
            let expected = EngineError::VerityMismatch {
                argument: "digests.expectedVerity[0]".to_owned(),
                file_index: 1,
                expected: digest(0).to_string(),
                found: None,
            };
            assert_eq!(error, expected);
        }
    }
}
