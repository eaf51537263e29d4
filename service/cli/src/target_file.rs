// SPDX-License-Identifier: Apache-2.0
//! The file that `save` writes: it takes the place of the target only when it is whole.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context};
use tempfile::{Builder, NamedTempFile};

use crate::interrupt::Interrupt;

/// What a new file permits, before the umask.
const NEW_FILE_MODE: u32 = 0o666;

/// A file beside the target, removed unless it takes the target's place.
pub struct TargetFile {
    file: NamedTempFile,
    target: PathBuf,
}

impl TargetFile {
    /// Makes the file. The error says why the target cannot be replaced.
    pub fn create(target: &Path, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let existing = existing(target)?;
        // A symbolic link stays, and what it names is replaced.
        let target = if existing.is_some() { target.canonicalize()? } else { target.to_owned() };
        let directory = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut builder = Builder::new();
        builder.prefix(".dmabufload-").permissions(Permissions::from_mode(NEW_FILE_MODE));
        let file = interrupt.making(|| {
            let file = builder.tempfile_in(directory)?;
            let path = file.path().to_owned();
            Ok::<_, std::io::Error>((file, path))
        })?;
        if let Some(permissions) = existing {
            file.as_file().set_permissions(permissions)?;
        }
        Ok(Self { file, target })
    }

    /// The file to write.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Lets the file take the target's place, once its bytes are on the storage device.
    pub fn replace_target(self) -> anyhow::Result<()> {
        self.file().sync_all().context("fsync")?;
        self.file.persist(&self.target).map_err(|error| error.error).context("rename")?;
        Ok(())
    }
}

/// The permissions of the target, if it is there; an error if it must not be replaced.
fn existing(target: &Path) -> anyhow::Result<Option<Permissions>> {
    let metadata = match target.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    ensure!(metadata.is_file(), "is not a regular file");
    // Replacing needs only the directory: a file that may not be written stays.
    OpenOptions::new().write(true).open(target)?;
    Ok(Some(metadata.permissions()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn create(target: &Path) -> anyhow::Result<TargetFile> {
        TargetFile::create(target, &Interrupt::default())
    }

    fn write(target: &TargetFile) {
        std::io::Write::write_all(&mut target.file(), b"new").unwrap();
    }

    #[test]
    fn a_target_changes_only_when_it_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        std::fs::write(&target, "old").unwrap();
        std::fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
        let file = create(&target).unwrap();
        write(&file);
        drop(file);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        let file = create(&target).unwrap();
        write(&file);
        file.replace_target().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(directory.path()), ["target"]);
    }

    #[test]
    fn a_link_stays_and_its_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let file = create(&link).unwrap();
        write(&file);
        file.replace_target().unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for other in [directory.path(), Path::new("/dev/null")] {
            let error = create(other).map(drop).unwrap_err();
            assert!(error.to_string().contains("is not a regular file"), "{error}");
        }
        let error = create(&directory.path().join("missing/target")).map(drop).unwrap_err();
        assert!(format!("{error:#}").contains("No such file"), "{error:#}");
        assert!(names(directory.path()).is_empty());
    }
}
