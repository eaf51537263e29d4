// SPDX-License-Identifier: Apache-2.0
//! fs-verity: whether a file is what the caller expects, known before its first byte is
//! loaded.
//!
//! The digest stands for the root of the file's hash tree. The kernel checks every block of the
//! file against that tree when it brings the block into the page cache, and the file can never
//! change again: a file with the expected digest yields the expected bytes, or `EIO`
//! ([`EngineError::Io`]), whatever part of it is loaded. A SHA-256 of the loaded bytes is about the
//! buffer and costs a hash over all of them; this is about the file, up to its copy into the
//! buffer.
//!
//! It holds on every path. None is direct on such a file (see `DirectIo`), and F2FS, ext4 and btrfs
//! read through the page cache even on an fd with `O_DIRECT`. copy_file_range with the kernel patch
//! reads by the file system's own `read_iter`. A file that is opened again is compared by its
//! inode.
//!
//! Only what the kernel itself enforces counts. On FUSE it passes on a digest that the server made
//! up; `statx` reports no fs-verity there, and without that report the file has none here. It also
//! spares files without fs-verity the ioctl.

use dmabuf_uapi::fs_verity::measure;
use dmabuf_uapi::Errno;

use super::OpenFile;
use crate::error::{Argument, EngineError, Result};
use crate::request::{DigestRequest, FileDigest};

pub use dmabuf_uapi::fs_verity::{Algorithm, Digest};

/// Compares the files with what the request expects; returns the digests of the files that it asks
/// about and that have one, in the order of the files.
///
/// # Errors
/// [`EngineError::VerityMismatch`]; [`EngineError::Inspect`] where the kernel does not tell the
/// digest.
pub(crate) fn check(request: &DigestRequest, files: &[OpenFile]) -> Result<Vec<FileDigest>> {
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

fn digest_of(file: &OpenFile, file_index: usize) -> Result<Option<Digest>> {
    if !file.has_verity() {
        return Ok(None);
    }
    match measure(file.passed_fd()) {
        Ok(digest) => Ok(Some(digest)),
        Err(Errno::NODATA | Errno::NOTTY | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => {
            let argument = Argument::File(file_index);
            Err(EngineError::inspect(argument, "FS_IOC_MEASURE_VERITY", errno))
        }
    }
}

fn compare(index: usize, expected: FileDigest, found: Option<Digest>) -> Result<()> {
    if found == Some(expected.digest) {
        return Ok(());
    }
    Err(EngineError::VerityMismatch {
        index,
        file_index: expected.file_index,
        expected: expected.digest.to_string(),
        found: found.map(|digest| digest.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io_path::Direction;

    fn digest(byte: u8) -> Digest {
        Digest::new(Algorithm::Sha256, &[byte; 32]).unwrap()
    }

    fn of_file(file_index: usize) -> FileDigest {
        FileDigest { file_index, digest: digest(0) }
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
                "expected fs-verity digest 2: file 3 has the fs-verity digest sha256:{zeros}, \
                 expected sha256:{ones}"
            )
        );
        assert_eq!(
            compare(2, expected, None).unwrap_err().to_string(),
            format!("expected fs-verity digest 2: file 3 has no fs-verity, expected sha256:{ones}")
        );
        // The same bytes by another algorithm are another digest.
        let long = Digest::new(Algorithm::Sha512, &[1; 64]).unwrap();
        assert!(compare(2, expected, Some(long)).is_err());
    }

    #[test]
    fn a_file_without_fs_verity_fails_where_a_digest_is_expected() {
        let inspect = |index| {
            let memfd = dmabuf_uapi::memfd::create_sealed(c"f", 4096).unwrap();
            OpenFile::inspect(memfd.into(), index, Direction::Load).unwrap()
        };
        let files = [inspect(0), inspect(1)];
        let mut request = DigestRequest::default();
        assert_eq!(check(&request, &files), Ok(Vec::new()));
        request.report_verity = true;
        assert_eq!(check(&request, &files), Ok(Vec::new()));
        request.expected_verity = vec![of_file(1)];
        for report_verity in [false, true] {
            request.report_verity = report_verity;
            let error = check(&request, &files).unwrap_err();
            let expected = EngineError::VerityMismatch {
                index: 0,
                file_index: 1,
                expected: digest(0).to_string(),
                found: None,
            };
            assert_eq!(error, expected);
        }
    }
}
