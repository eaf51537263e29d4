// SPDX-License-Identifier: Apache-2.0
//! Packages of a newer Debian than this machine's, from Debian's archive of backports. The lists of
//! packages are kept apart, so that this machine's own configuration is left alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{command, output};
use crate::files;
use crate::packages;
use crate::progress::Progress;

/// Where Debian's newest kernels are packaged for its stable release.
const SOURCES: &str = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
                       http://deb.debian.org/debian trixie-backports main\n";

/// A configuration of apt of its own.
#[derive(Debug)]
pub struct Backports {
    dir: PathBuf,
}

impl Backports {
    /// Brings the lists of packages in `dir` up to date; without a network, those of an earlier
    /// time serve.
    pub fn open(dir: &Path, progress: &Progress) -> Result<Self> {
        for part in ["lists/partial", "archives/partial"] {
            files::create_dir(&dir.join(part))?;
        }
        fs::write(dir.join("sources.list"), SOURCES)?;
        let this = Self { dir: dir.to_owned() };
        let phase = progress.phase("update the lists of backported packages");
        if let Err(error) = output(this.apt("apt-get").args(["-q", "update"])) {
            phase.print(&format!("the lists of backported packages may be old: {error:#}"));
        }
        Ok(this)
    }

    /// The version of a package that [`download`](Self::download) fetches.
    pub fn version(&self, package: &str) -> Result<String> {
        let record = output(self.apt("apt-cache").args(["show", "--no-all-versions", package]))
            .with_context(|| format!("Debian's backports have no {package} any more"))?;
        let version = record.lines().find_map(|line| line.strip_prefix("Version: "));
        Ok(version.with_context(|| format!("{package} has no version"))?.to_owned())
    }

    /// Fetches a package into `dir`, and returns the path of its archive.
    pub fn download(&self, package: &str, dir: &Path) -> Result<PathBuf> {
        packages::download_with(self.apt("apt-get"), package, dir)
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = command(program);
        for (option, part) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache::archives", "archives"),
            ("Dir::Cache::pkgcache", "pkgcache.bin"),
            ("Dir::Cache::srcpkgcache", "srcpkgcache.bin"),
        ] {
            apt.arg("-o").arg(format!("{option}={}", self.dir.join(part).display()));
        }
        apt.args(["-o", "Dir::Etc::sourceparts=-"]);
        apt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_lists_are_left_alone() {
        let apt = Backports { dir: "/x".into() }.apt("apt-get");
        let args: Vec<String> = apt.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        for option in [
            "Dir::Etc::sourcelist=/x/sources.list",
            "Dir::State::lists=/x/lists",
            "Dir::Etc::sourceparts=-",
        ] {
            assert!(args.iter().any(|arg| arg == option), "{args:?}");
        }
    }
}
