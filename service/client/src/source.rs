// SPDX-License-Identifier: Apache-2.0
//! Opens source files so that the service can read them directly.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{open, statx, AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::error::{ClientError, Result};

/// Opens a file for loading: with `O_DIRECT`, so that the service need not reopen it, or without if
/// the file system refuses `O_DIRECT` or does no direct I/O on such a file.
///
/// # Errors
/// [`ClientError::File`] with the error of `open(2)`.
pub fn open_for_load(path: &Path) -> Result<File> {
    open_best(path).map(File::from).map_err(|errno| ClientError::File {
        what: path.display().to_string(),
        source: errno.into(),
    })
}

fn open_best(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let buffered = open(path, flags, Mode::empty())?;
    if lies_in_page_cache_only(&buffered) {
        return Ok(buffered);
    }
    match open(path, flags | OFlags::DIRECT, Mode::empty()) {
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(buffered),
        other => other,
    }
}

/// Whether a file is read through the page cache whatever its fd: where the kernel unpacks or
/// checks it, and where its file system may keep so little in the inode.
fn lies_in_page_cache_only(file: &OwnedFd) -> bool {
    let page_cache_only = StatxAttributes::COMPRESSED | StatxAttributes::VERITY;
    statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).is_ok_and(|stat| {
        stat.stx_attributes.intersects(page_cache_only)
            || stat.stx_size < u64::from(stat.stx_blksize)
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::fcntl_getfl;

    use super::*;

    #[test]
    fn a_file_that_an_inode_may_hold_is_opened_buffered() {
        // Not in /tmp, which may be a tmpfs.
        let program = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let path = directory.path().join("f");
        let is_direct = |len: usize| {
            std::fs::write(&path, vec![1; len]).unwrap();
            let file = open_for_load(&path).unwrap();
            fcntl_getfl(file.as_fd()).unwrap().contains(OFlags::DIRECT)
        };
        assert!(!is_direct(100));
        let flags = OFlags::RDONLY | OFlags::DIRECT;
        assert_eq!(is_direct(1 << 20), open(&path, flags, Mode::empty()).is_ok());
        assert!(open_for_load(&directory.path().join("missing")).is_err());
    }
}
