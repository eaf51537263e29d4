// SPDX-License-Identifier: Apache-2.0
//! Names and lists of files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a directory holds, sorted by name.
pub fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list {}", dir.display());
    let children = fs::read_dir(dir).with_context(failed)?;
    let paths = children.map(|child| child.map(|child| child.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().with_context(failed)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_sorted() {
        let dir = tempfile::tempdir().unwrap();
        for child in ["b", "a", "c"] {
            fs::write(dir.path().join(child), "").unwrap();
        }
        let names: Vec<String> = sorted(dir.path()).unwrap().iter().map(|p| name(p)).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let missing = sorted(&dir.path().join("d")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot list "), "{missing}");
    }
}
