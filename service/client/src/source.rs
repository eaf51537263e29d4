// SPDX-License-Identifier: Apache-2.0
//! Opens source files so that the service can read them directly.

use std::fs::File;
use std::path::Path;

use rustix::fs::{open, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{ClientError, Result};

/// Opens a file for loading: with `O_DIRECT`, so that the service need not reopen it, or without if
/// the file system refuses `O_DIRECT`.
///
/// # Errors
/// [`ClientError::File`] with the error of `open(2)`.
pub fn open_for_load(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let opened = match open(path, flags | OFlags::DIRECT, Mode::empty()) {
        Err(Errno::INVAL | Errno::OPNOTSUPP) => open(path, flags, Mode::empty()),
        other => other,
    };
    opened.map(File::from).map_err(|errno| ClientError::File {
        what: path.display().to_string(),
        source: errno.into(),
    })
}
