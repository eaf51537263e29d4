// SPDX-License-Identifier: Apache-2.0
//! The kernel of flavour `stock`: Debian's package, unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::layout::{IMAGE, MODULES, MODULES_LOAD};
use super::modules;
use crate::cache::{self, BuildDirs, Key};
use crate::command::{command, output, run_logged};
use crate::progress::Progress;
use crate::{files, packages};

/// Depends on the packages of the kernel itself, whose names hold its version.
const META_PACKAGE: &str = "linux-image-6.12-amd64";

/// The package whose version is fetched, so that the flavours differ by patches and configuration
/// only.
const SOURCE_PACKAGE: &str = "linux-source-6.12";

/// Changes whenever the steps of this module do.
const RECIPE: &str = "2";

/// Modules of the package that the device needs; modprobe adds those that they need.
const WANTED: [&str; 13] = [
    "binder_linux",
    "crc32_generic",
    "cts",
    "dm_delay",
    "dm_flakey",
    "erofs",
    "ext4",
    "f2fs",
    "loop",
    "quota_v2",
    "virtio_blk",
    "virtio_console",
    "xts",
];

/// Returns the directory of the kernel, after fetching the package if it is not in the cache.
pub fn build(progress: &Progress) -> Result<PathBuf> {
    let version = packages::version(SOURCE_PACKAGE)?;
    let mut key = Key::default();
    key.add("recipe", RECIPE);
    key.add("version", &version);
    key.add("modules", WANTED.join(" "));
    cache::entry(
        &cache::root()?,
        "stock-kernel",
        &key.finish(),
        || progress.print("waiting for another run that fetches Debian's kernel"),
        |dirs| fetch(dirs, &version, progress),
    )
}

fn fetch(dirs: &BuildDirs, version: &str, progress: &Progress) -> Result<()> {
    let phase = progress.phase("fetch Debian's kernel");
    let log = dirs.work.join("log");
    let package = packages::dependency(META_PACKAGE, version, "linux-image-")?;
    phase.detail(&package);
    let archive = packages::download(&package, &dirs.work)?;
    phase.detail("unpack");
    let tree = dirs.work.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    run_logged(command("dpkg-deb").arg("--extract").args([&archive, &tree]), &log)?;
    let release = only_child(&tree.join("lib/modules"))?;
    let boot = tree.join("boot");
    for (from, to) in [("vmlinuz", IMAGE), ("config", "config")] {
        fs::copy(boot.join(format!("{from}-{release}")), dirs.result.join(to))
            .with_context(|| format!("{package} has no {from}"))?;
    }
    run_logged(command("depmod").arg("--basedir").arg(&tree).arg(&release), &log)?;
    add_modules(&tree, &release, &dirs.result.join(MODULES))?;
    phase.detail("fetch its headers");
    modules::fetch_headers(&release, dirs, &log)
}

/// Unpacks the modules into `to`, with the list of them.
fn add_modules(tree: &Path, release: &str, to: &Path) -> Result<()> {
    let actions = output(
        command("modprobe")
            .args(["--all", "--show-depends", "--set-version", release, "--dirname"])
            .arg(tree)
            // Settings of this machine are not the device's.
            .args(["--config", "/dev/null"])
            .args(WANTED),
    )?;
    fs::create_dir_all(to)?;
    let mut list = String::new();
    for module in load_order(&actions)? {
        let name = plain_name(&module);
        list.push_str(&name);
        list.push('\n');
        let to = to.join(name);
        if module.extension().is_some_and(|extension| extension == "xz") {
            // Kept packed they could be loaded only by a kernel that unpacks them itself.
            let packed = fs::File::open(&module)?;
            let status = command("xz")
                .args(["--decompress", "--stdout"])
                .stdin(packed)
                .stdout(fs::File::create(&to)?)
                .status()?;
            if !status.success() {
                bail!("xz --decompress {}: {status}", module.display());
            }
        } else {
            fs::copy(&module, &to).with_context(|| format!("cannot copy {}", module.display()))?;
        }
    }
    fs::write(to.join(MODULES_LOAD), list)?;
    Ok(())
}

/// The files that modprobe would load, each once; what is built in needs no file.
fn load_order(actions: &str) -> Result<Vec<PathBuf>> {
    let mut order: Vec<PathBuf> = Vec::new();
    for line in actions.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(' ') {
            Some(("builtin", _)) => {}
            Some(("insmod", path)) if !path.contains(' ') => {
                let path = PathBuf::from(path);
                if !order.contains(&path) {
                    order.push(path);
                }
            }
            _ => bail!("modprobe would do more than load a module: {line}"),
        }
    }
    Ok(order)
}

/// Name of a module's file, unpacked.
fn plain_name(module: &Path) -> String {
    let name = files::name(module);
    name.strip_suffix(".xz").unwrap_or(&name).to_owned()
}

fn only_child(dir: &Path) -> Result<String> {
    let children = files::sorted(dir)?;
    match &children[..] {
        [child] => Ok(files::name(child)),
        _ => bail!("{} holds {} entries, expected 1", dir.display(), children.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_once_and_in_order() {
        let actions = "insmod /t/lib/modules/6/kernel/lib/crc16.ko.xz \n\
                       builtin crc32\n\
                       insmod /t/a.ko.xz \n\
                       insmod /t/lib/modules/6/kernel/lib/crc16.ko.xz \n\
                       insmod /t/b.ko \n";
        let order = load_order(actions).unwrap();
        let names: Vec<String> = order.iter().map(|path| plain_name(path)).collect();
        assert_eq!(names, ["crc16.ko", "a.ko", "b.ko"]);
        assert!(load_order("install /bin/true\n").is_err());
        assert!(load_order("insmod /t/a.ko option=1\n").is_err());
    }
}
