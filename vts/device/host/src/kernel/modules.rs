// SPDX-License-Identifier: Apache-2.0
//! Kernel code of this checkout that only tests need: a module where the kernel loads modules,
//! else a part of the kernel.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::HEADERS;
use super::make::make;
use super::patch_report;
use crate::cache::{self, BuildDirs, Key};
use crate::command::{command, output, run_logged};
use crate::progress::Progress;
use crate::workspace::Workspace;
use crate::{files, packages};

/// Changes whenever the steps of [`Module::build`] do.
const RECIPE: &str = "1";

/// Where packages of headers have their files, apart from scripts and tools.
const PACKAGED_SOURCES: &str = "usr/src";

/// A directory of kernel code, which holds a Kbuild file and one object of the same name.
#[derive(Debug)]
pub struct Module {
    name: &'static str,
    sources: Vec<PathBuf>,
}

impl Module {
    /// All of this checkout: an importer of dma-bufs and an exporter.
    pub fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        let modules = [("importer", "vts_dma_buf_importer"), ("exporter", "vts_dma_buf_exporter")];
        let read = |(dir, name)| {
            let sources = files::sorted(&workspace.source("vts/device/kernel").join(dir))?;
            Ok(Self { name, sources })
        };
        modules.into_iter().map(read).collect()
    }

    /// Adds the sources to what a build result depends on.
    pub fn add_to_key(&self, key: &mut Key) -> Result<()> {
        key.add("module", self.name);
        for source in &self.sources {
            let content =
                fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
            key.add(&files::name(source), content);
        }
        Ok(())
    }

    /// Makes it a part of the kernel in `tree`.
    pub fn add_to_tree(&self, tree: &Path) -> Result<()> {
        let drivers = tree.join("drivers");
        self.copy_to(&drivers.join(self.name))?;
        let makefile = drivers.join("Makefile");
        let mut makefile = OpenOptions::new()
            .append(true)
            .open(&makefile)
            .with_context(|| format!("cannot open {}", makefile.display()))?;
        writeln!(makefile, "obj-y += {}/", self.name)?;
        Ok(())
    }

    /// Writes what checkpatch.pl of the kernel in `tree` says about the sources into `reports`.
    pub fn check(&self, tree: &Path, reports: &Path) -> Result<()> {
        let code = |path: &&PathBuf| path.extension().is_some_and(|e| e == "c" || e == "h");
        for source in self.sources.iter().filter(code) {
            let text = patch_report::checkpatch(tree, &["--strict", "--file"], source)?;
            fs::write(reports.join(format!("{}.txt", files::name(source))), text)?;
        }
        Ok(())
    }

    /// Returns the module for the packaged kernel in `kernel`, after building it if it is not in
    /// the cache.
    pub fn build(&self, kernel: &Path, progress: &Progress) -> Result<PathBuf> {
        let mut key = Key::default();
        key.add("recipe", RECIPE);
        key.add("kernel", files::name(kernel));
        key.add("compiler", output(command("gcc").arg("--version"))?);
        self.add_to_key(&mut key)?;
        let entry = cache::entry(
            &cache::root()?,
            "kernel-module",
            &key.finish(),
            || progress.print("waiting for another run that builds a kernel module"),
            |dirs| self.compile(kernel, dirs, progress),
        )?;
        Ok(entry.join(self.file_name()))
    }

    fn compile(&self, kernel: &Path, dirs: &BuildDirs, progress: &Progress) -> Result<()> {
        let phase = progress.phase("build a kernel module");
        phase.detail(self.name);
        let sources = dirs.work.join(self.name);
        self.copy_to(&sources)?;
        run_logged(
            make(&configured_headers(kernel)?)
                // Warnings are errors.
                .arg("W=1e")
                .arg(format!("M={}", sources.display()))
                .arg("modules"),
            &dirs.work.join("log"),
        )
        .with_context(|| format!("the kernel module {} does not build", self.name))?;
        fs::copy(sources.join(self.file_name()), dirs.result.join(self.file_name()))
            .with_context(|| format!("the build made no {}", self.file_name()))?;
        Ok(())
    }

    fn file_name(&self) -> String {
        format!("{}.ko", self.name)
    }

    fn copy_to(&self, dir: &Path) -> Result<()> {
        files::create_dir(dir)?;
        for source in &self.sources {
            fs::copy(source, dir.join(files::name(source)))
                .with_context(|| format!("cannot copy {}", source.display()))?;
        }
        Ok(())
    }
}

/// Fetches the headers that belong to the packaged kernel of this release into the result.
pub fn fetch_headers(release: &str, dirs: &BuildDirs, log: &Path) -> Result<()> {
    let to = dirs.result.join(HEADERS);
    for package in header_packages(release) {
        let archive = packages::download(&package, &dirs.work)?;
        run_logged(command("dpkg-deb").arg("--extract").args([&archive, &to]), log)?;
    }
    let headers = configured_headers(&dirs.result)?;
    let common = only_named(&to.join(PACKAGED_SOURCES), "-common")?;
    // The package's Makefile includes another by its path on a machine that has it installed.
    let include = format!("include ../{}/Makefile\n", files::name(&common));
    fs::write(headers.join("Makefile"), include)?;
    // There only for debug information, which needs more packages.
    let symbols = headers.join("vmlinux");
    if symbols.exists() {
        fs::remove_file(symbols)?;
    }
    Ok(())
}

/// The packages with which modules for a kernel are built: `6.12.9+deb12-amd64` is the release.
fn header_packages(release: &str) -> [String; 3] {
    let abi = release.rsplit_once('-').map_or(release, |(abi, _)| abi);
    [
        format!("linux-headers-{release}"),
        format!("linux-headers-{abi}-common"),
        format!("linux-kbuild-{abi}"),
    ]
}

/// The directory of headers that knows the configuration.
fn configured_headers(kernel: &Path) -> Result<PathBuf> {
    only_named(&kernel.join(HEADERS).join(PACKAGED_SOURCES), "-amd64")
}

fn only_named(dir: &Path, ending: &str) -> Result<PathBuf> {
    let found = files::sorted(dir)?.into_iter().find(|path| files::name(path).ends_with(ending));
    found.with_context(|| format!("{} holds nothing named *{ending}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_packages_belong_to_the_release() {
        assert_eq!(
            header_packages("6.12.9+deb12-amd64"),
            [
                "linux-headers-6.12.9+deb12-amd64",
                "linux-headers-6.12.9+deb12-common",
                "linux-kbuild-6.12.9+deb12"
            ]
        );
    }

    #[test]
    fn built_in_code_is_part_of_the_drivers() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("Kbuild");
        fs::write(&source, "obj-y += a.o\n").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("drivers")).unwrap();
        fs::write(tree.join("drivers/Makefile"), "obj-y += bus/\n").unwrap();
        let module = Module { name: "a", sources: vec![source] };
        module.add_to_tree(&tree).unwrap();
        let makefile = fs::read_to_string(tree.join("drivers/Makefile")).unwrap();
        assert_eq!(makefile, "obj-y += bus/\nobj-y += a/\n");
        let kbuild = fs::read_to_string(tree.join("drivers/a/Kbuild")).unwrap();
        assert_eq!(kbuild, "obj-y += a.o\n");
    }
}
