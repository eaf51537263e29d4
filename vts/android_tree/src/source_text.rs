// SPDX-License-Identifier: Apache-2.0
//! Finds files of a source tree, and words in them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Directories that hold no sources.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// Files of a name below `root`, sorted.
///
/// # Errors
/// A directory that cannot be listed.
pub fn files_named(root: &Path, name: &str) -> Result<Vec<PathBuf>> {
    files(root, &|path| path.file_name().is_some_and(|own| own == name))
}

/// Files with an extension below `root`, sorted.
///
/// # Errors
/// A directory that cannot be listed.
pub fn files_with_extension(root: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    files(root, &|path| path.extension().is_some_and(|own| own == extension))
}

fn files(root: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                found.extend(files(&path, wanted)?);
            }
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
