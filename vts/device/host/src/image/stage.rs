// SPDX-License-Identifier: Apache-2.0
//! A directory that becomes a read-only EROFS image.

use std::fs::{self, Permissions};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, run_logged};
use crate::files;

/// The content of an image that is being made.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
}

impl Stage {
    /// Starts with an empty image.
    pub fn new(dir: PathBuf) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        let stage = Self { dir };
        stage.directory("")?;
        Ok(stage)
    }

    /// Adds a directory and those above it.
    pub fn directory(&self, path: &str) -> Result<PathBuf> {
        let mut dir = self.dir.clone();
        for part in Path::new("").components().chain(Path::new(path).components()) {
            dir.push(part);
        }
        files::create_dir(&dir)?;
        // Not left to this user's umask.
        for made in dir.ancestors().take_while(|made| made.starts_with(&self.dir)) {
            fs::set_permissions(made, Permissions::from_mode(0o755))?;
        }
        Ok(dir)
    }

    /// Adds a program.
    pub fn program(&self, path: &str, from: &Path) -> Result<()> {
        self.file(path, from, 0o755)
    }

    /// Adds a program that runs as root, whoever starts it.
    pub fn set_uid_program(&self, path: &str, from: &Path) -> Result<()> {
        self.file(path, from, 0o4755)
    }

    /// Adds a file that everyone may read.
    pub fn config(&self, path: &str, from: &Path) -> Result<()> {
        self.file(path, from, 0o644)
    }

    /// Adds a file that everyone may read, with the given content.
    pub fn text(&self, path: &str, text: &str) -> Result<()> {
        let to = self.place(path)?;
        fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
        fs::set_permissions(&to, Permissions::from_mode(0o644))?;
        Ok(())
    }

    /// Adds a symbolic link, unless the path exists.
    pub fn link(&self, path: &str, target: &str) -> Result<()> {
        let to = self.place(path)?;
        if fs::symlink_metadata(&to).is_err() {
            symlink(target, &to).with_context(|| format!("cannot link {}", to.display()))?;
        }
        Ok(())
    }

    fn file(&self, path: &str, from: &Path, mode: u32) -> Result<()> {
        let to = self.place(path)?;
        fs::copy(from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        fs::set_permissions(&to, Permissions::from_mode(mode))?;
        Ok(())
    }

    fn place(&self, path: &str) -> Result<PathBuf> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(self.directory(dir)?.join(name))
    }

    /// Writes the image. Everything in it belongs to root and, given file_contexts, has its label
    /// in security.selinux. This process need not be root.
    pub fn write(self, image: &Path, file_contexts: Option<&Path>, log: &Path) -> Result<()> {
        let mut mkfs = command("mkfs.erofs");
        mkfs.args(["--quiet", "--all-root", "-T0"]);
        if let Some(file_contexts) = file_contexts {
            mkfs.arg(format!("--file-contexts={}", file_contexts.display()));
        } else {
            mkfs.arg("-x-1");
        }
        run_logged(mkfs.arg(image).arg(&self.dir), log)?;
        fs::remove_dir_all(&self.dir)?;
        Ok(())
    }
}
