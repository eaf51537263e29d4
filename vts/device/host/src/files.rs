// SPDX-License-Identifier: Apache-2.0
//! Names and lists of files; reading files, creating files and directories.

use std::fs::{self, File};
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

/// Creates a directory and those above it.
pub fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Creates a file, or empties the one that is there.
pub fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot create {}", path.display()))
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
        let below_a_file = dir.path().join("a/b");
        for error in [create(&below_a_file).err(), create_dir(&below_a_file).err()] {
            let expected = format!("cannot create {}", below_a_file.display());
            assert_eq!(error.map(|error| error.to_string()), Some(expected));
        }
        let missing = read(&below_a_file).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read "), "{missing}");
        let missing = sorted(&dir.path().join("d")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot list "), "{missing}");
    }
}
