// SPDX-License-Identifier: Apache-2.0
//! The Debian packages the virtual device is made from and runs on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::command::{command, output};
use crate::files;
use crate::progress::Progress;

/// All are in Debian 12's main archive or its security archive; nothing else is fetched.
const PACKAGES: &[&str] = &[
    "bc",
    "bison",
    "busybox-static",
    "checkpolicy",
    "cpio",
    "erofs-utils",
    "f2fs-tools",
    "flex",
    "gcc",
    "kmod",
    "libc6-dev",
    "libelf-dev",
    "libssl-dev",
    "linux-source-6.12",
    "m4",
    "make",
    "patch",
    "perl",
    "policycoreutils",
    "qemu-system-x86",
    "rsync",
    "secilc",
    "setools",
    "tar",
    "xz-utils",
];

/// Installs what is missing if this is root, else says how.
pub fn ensure(progress: &Progress) -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "Debian packages are missing; install them with\n\n    sudo apt-get install -y \
             --no-install-recommends {}\n",
            missing.join(" ")
        );
    }
    let _phase = progress.phase(format!("install {}", missing.join(" ")));
    apt_get(&["update"])?;
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&missing);
    apt_get(&install)
}

fn missing() -> Result<Vec<&'static str>> {
    // dpkg-query fails when any of the packages is unknown, and still lists the others.
    let listing = command("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(PACKAGES)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .context("cannot run dpkg-query: the virtual device is built on Debian 12")?;
    Ok(not_installed(&String::from_utf8_lossy(&listing.stdout)))
}

fn not_installed(listing: &str) -> Vec<&'static str> {
    let installed: HashSet<&str> =
        listing.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    PACKAGES.iter().copied().filter(|package| !installed.contains(package)).collect()
}

fn apt_get(args: &[&str]) -> Result<()> {
    output(command("apt-get").arg("-q").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
        .map(drop)
}

/// Version of an installed package.
pub fn version(package: &str) -> Result<String> {
    output(command("dpkg-query").args(["--show", "--showformat=${Version}", package]))
}

/// Name of the package, beginning with `prefix`, that `package` depends on in the given version, or
/// in the newest one if the archive has dropped that version.
pub fn dependency(package: &str, version: &str, prefix: &str) -> Result<String> {
    if rustix::process::geteuid().is_root() {
        apt_get(&["update"])?;
    }
    let records = output(command("apt-cache").args(["show", package]))
        .context("the lists of packages are missing or old; update them with apt-get update")?;
    dependency_in(&records, version, prefix)
        .with_context(|| format!("{package} depends on no package named {prefix}*"))
}

fn dependency_in(records: &str, version: &str, prefix: &str) -> Option<String> {
    let field = |record: &str, name: &str| {
        record.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let records: Vec<&str> = records.split("\n\n").collect();
    let same = records.iter().find(|r| field(r, "Version:").is_some_and(|found| found == version));
    let depends = field(same.or(records.first())?, "Depends:")?;
    let names = depends.split(',').filter_map(|one| one.split_whitespace().next());
    names.into_iter().find(|name| name.starts_with(prefix)).map(str::to_owned)
}

/// Fetches the newest version of a package into `dir`, and returns the path of its archive.
pub fn download(package: &str, dir: &Path) -> Result<PathBuf> {
    download_with(command("apt-get"), package, dir)
}

/// As [`download`], with an apt-get that has a configuration of its own.
pub fn download_with(mut apt_get: Command, package: &str, dir: &Path) -> Result<PathBuf> {
    output(apt_get.args(["-q", "download", package]).current_dir(dir))?;
    let archive = files::sorted(dir)?.into_iter().find(|path| {
        let name = files::name(path);
        name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
    });
    archive.with_context(|| format!("apt-get download {package} left no archive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependency_of_the_wanted_version() {
        let records =
            "Package: meta\nVersion: 6.12.9-1\nDepends: image-6.12.9-amd64 (= 6.12.9-1)\n\n\
                       Package: meta\nVersion: 6.12.8-1\nDepends: kmod, image-6.12.8-amd64 (= 1)\n";
        let of = |version| dependency_in(records, version, "image-");
        assert_eq!(of("6.12.8-1").as_deref(), Some("image-6.12.8-amd64"));
        assert_eq!(of("6.12.7-1").as_deref(), Some("image-6.12.9-amd64"));
        assert_eq!(dependency_in(records, "6.12.9-1", "kmod"), None);
        assert_eq!(dependency_in("", "1", "image-"), None);
    }

    #[test]
    fn only_installed_packages_count() {
        let all: String = PACKAGES.iter().map(|package| format!("{package} installed\n")).collect();
        assert!(not_installed(&all).is_empty());
        let some = all.replace("gcc installed", "gcc config-files").replace("m4 installed\n", "");
        assert_eq!(not_installed(&some), ["gcc", "m4"]);
        assert_eq!(not_installed(""), PACKAGES);
    }
}
