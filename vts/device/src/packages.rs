// SPDX-License-Identifier: Apache-2.0
//! The Debian packages the virtual device is made from and runs on.

use std::collections::HashSet;
use std::process::Stdio;

use anyhow::{bail, Context, Result};

use crate::command::{command, output};
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let all: String = PACKAGES.iter().map(|package| format!("{package} installed\n")).collect();
        assert!(not_installed(&all).is_empty());
        let some = all.replace("gcc installed", "gcc config-files").replace("m4 installed\n", "");
        assert_eq!(not_installed(&some), ["gcc", "m4"]);
        assert_eq!(not_installed(""), PACKAGES);
    }
}
