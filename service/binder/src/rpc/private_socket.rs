// SPDX-License-Identifier: Apache-2.0
//! A listening socket that only its owner can connect to, from its first moment on.
//!
//! `bind(2)` makes a socket with the mode that the umask leaves. The socket is therefore bound in a
//! directory that only the owner can enter, and gets its name in the end.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A directory of mode 0700, removed with what is in it when this is dropped.
#[derive(Debug)]
pub(super) struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    /// Makes the directory beside a path.
    pub(super) fn beside(path: &Path) -> Result<Self> {
        // Short names: sun_path holds 107 bytes, and a caller's path should not become too long.
        let mut attempt = 0;
        loop {
            let directory = path.with_file_name(format!(".{}.{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => return Ok(Self(directory)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 100 => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// The name of a listening socket, removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketName {
    path: PathBuf,
    identity: (u64, u64),
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Listens at `path`, which must not exist, on a socket with mode 0600. `directory` is on the same
/// file system.
pub(super) fn listen(
    directory: &PrivateDirectory,
    path: &Path,
) -> Result<(UnixListener, SocketName)> {
    let bound = directory.path("s");
    let listener = UnixListener::bind(&bound)?;
    fs::set_permissions(&bound, Permissions::from_mode(0o600))?;
    let identity = identity(&fs::symlink_metadata(&bound)?);
    // Unlike rename(2), link(2) replaces nothing.
    fs::hard_link(&bound, path)
        .map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok((listener, SocketName { path: path.to_owned(), identity }))
}

impl Drop for SocketName {
    fn drop(&mut self) {
        // Another server may have taken the name meanwhile.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
