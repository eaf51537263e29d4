// SPDX-License-Identifier: Apache-2.0
//! The source of a kernel, as Debian packages it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::backports::Backports;
use crate::cache;
use crate::command::{command, run_logged};
use crate::packages;
use crate::progress::Progress;

/// The source of the flavours `patched` and `debug`, which is installed.
const INSTALLED: &str = "linux-source-6.12";

/// The source that the port of the series is for.
const NEWEST: &str = "linux-source-7.3";

/// A packed source tree.
#[derive(Debug)]
pub struct Source {
    /// Version of the package.
    pub version: String,
    archive: PathBuf,
}

impl Source {
    /// The source that is installed on this machine.
    pub fn installed() -> Result<Self> {
        let archive = Path::new("/").join(archive_in_package(INSTALLED));
        Ok(Self { version: packages::version(INSTALLED)?, archive })
    }

    /// The newest source of Debian's archive, after fetching it if it is not in the cache.
    pub fn newest(progress: &Progress) -> Result<Self> {
        let root = cache::root()?;
        let archive = Backports::open(&root.join("backports"), progress)?;
        let version = archive.version(NEWEST)?;
        let dir = cache::entry(
            &root,
            "newest-source",
            &version,
            || progress.print("waiting for another run that fetches the newest kernel source"),
            |dirs| {
                let phase = progress.phase("fetch the newest kernel source");
                let log = dirs.work.join("log");
                phase.detail(NEWEST);
                let package = archive.download(NEWEST, &dirs.work)?;
                run_logged(
                    command("dpkg-deb").arg("--extract").arg(&package).arg(&dirs.work),
                    &log,
                )?;
                let packed = dirs.work.join(archive_in_package(NEWEST));
                fs::rename(&packed, dirs.result.join(ARCHIVE))
                    .with_context(|| format!("{NEWEST} has no {}", packed.display()))
            },
        )?;
        Ok(Self { version, archive: dir.join(ARCHIVE) })
    }

    /// Unpacks the source into a directory.
    pub fn unpack(&self, to: &Path, log: &Path) -> Result<()> {
        run_logged(
            command("tar")
                .args(["--extract", "--xz", "--strip-components=1", "--file"])
                .arg(&self.archive)
                .arg("--directory")
                .arg(to),
            log,
        )
    }
}

/// Name of a packed source tree in the cache.
const ARCHIVE: &str = "linux.tar.xz";

/// Path of the packed source tree in a package, without the leading slash.
fn archive_in_package(package: &str) -> String {
    format!("usr/src/{package}.tar.xz")
}
