// SPDX-License-Identifier: Apache-2.0
//! Labels, owners and modes of files, by file_contexts.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{chown, DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{anyhow, Context, Result};
use vts_init::file_contexts::{FileContexts, Kind};
use vts_init::rc::Ownership;

use crate::selinux;

const FILES: [&str; 2] =
    ["/system/etc/selinux/plat_file_contexts", "/vendor/etc/selinux/vendor_file_contexts"];

/// Reads the platform's and the vendor's file_contexts.
pub fn load() -> Result<FileContexts> {
    let mut contexts = FileContexts::default();
    for file in FILES {
        let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
        contexts.add(file, &text)?;
    }
    Ok(contexts)
}

/// Gives `path` the label file_contexts says, and with `recursive` everything below it on the same
/// file system.
pub fn restorecon(contexts: &FileContexts, path: &Path, recursive: bool) -> Result<()> {
    let metadata =
        fs::symlink_metadata(path).with_context(|| format!("reading {}", path.display()))?;
    restorecon_one(contexts, path, Kind::from(metadata.file_type()))?;
    if !recursive || !metadata.is_dir() {
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(|| format!("listing {}", path.display()))?;
    for entry in entries {
        let child = entry.with_context(|| format!("listing {}", path.display()))?.path();
        if fs::symlink_metadata(&child).is_ok_and(|m| m.dev() == metadata.dev()) {
            restorecon(contexts, &child, true)?;
        }
    }
    Ok(())
}

fn restorecon_one(contexts: &FileContexts, path: &Path, kind: Kind) -> Result<()> {
    let name = path.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))?;
    let Some(wanted) = contexts.lookup(name, kind) else { return Ok(()) };
    if selinux::context_of_file(path)?.as_deref() == Some(wanted) {
        return Ok(());
    }
    selinux::set_context_of_file(path, wanted)
}

/// Creates a directory with its label from the start; one that exists gets owner and mode.
pub fn make_dir(contexts: &FileContexts, path: &str, ownership: Ownership) -> Result<()> {
    let context = contexts.lookup(path, Kind::Directory);
    let made = selinux::creating_as(context, || fs::DirBuilder::new().mode(0o755).create(path))?;
    match made {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("creating {path}")),
    }
    set_ownership(path, ownership)
}

/// Sets owner, group and mode, where given.
pub fn set_ownership(path: &str, ownership: Ownership) -> Result<()> {
    if ownership.uid.is_some() || ownership.gid.is_some() {
        chown(path, ownership.uid, ownership.gid)
            .with_context(|| format!("changing the owner of {path}"))?;
    }
    if let Some(mode) = ownership.mode {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .with_context(|| format!("changing the mode of {path}"))?;
    }
    Ok(())
}
