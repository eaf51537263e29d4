// SPDX-License-Identifier: Apache-2.0
//! The kernel of flavour `patched`: Debian's source, our patches, our configuration.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::layout::{IMAGE, REPORTS, SELFTESTS_DIR};
use super::make::make;
use super::modules::Module;
use super::selftests;
use crate::cache::{self, BuildDirs, Key};
use crate::command::{command, output, run_lines, run_logged};
use crate::progress::{Phase, Progress};
use crate::workspace::Workspace;
use crate::{files, packages};

const SOURCE_PACKAGE: &str = "linux-source-6.12";
const SOURCE_ARCHIVE: &str = "/usr/src/linux-source-6.12.tar.xz";

/// Changes whenever the steps of this module, of [`make`] or of [`selftests`] do.
const RECIPE: &str = "2";

/// Returns the directory of the kernel for this checkout's patches and configuration, after
/// building it if it is not in the cache.
pub fn build(workspace: &Workspace, progress: &Progress) -> Result<PathBuf> {
    let recipe = Recipe::read(workspace)?;
    cache::entry(
        &cache::root()?,
        "kernel",
        &recipe.key()?,
        || progress.print("waiting for another run that builds the kernel"),
        |dirs| recipe.build(dirs, progress),
    )
}

#[derive(Debug)]
struct Recipe {
    fragment: PathBuf,
    patches: Vec<PathBuf>,
    importer: Module,
}

impl Recipe {
    fn read(workspace: &Workspace) -> Result<Self> {
        let mut patches = files::sorted(&workspace.source("vts/device/kernel/patches"))?;
        patches.retain(|path| path.extension().is_some_and(|e| e == "patch"));
        let fragment = workspace.source("vts/device/kernel/config.fragment");
        Ok(Self { fragment, patches, importer: Module::importer(workspace)? })
    }

    fn key(&self) -> Result<String> {
        let mut key = Key::default();
        key.add("recipe", RECIPE);
        key.add("source", packages::version(SOURCE_PACKAGE)?);
        key.add("compiler", output(command("gcc").arg("--version"))?);
        key.add("config", read(&self.fragment)?);
        for patch in &self.patches {
            key.add(&files::name(patch), read(patch)?);
        }
        self.importer.add_to_key(&mut key)?;
        Ok(key.finish())
    }

    fn build(&self, dirs: &BuildDirs, progress: &Progress) -> Result<()> {
        let phase = progress.phase("build the kernel");
        let log = dirs.work.join("log");
        let tree = dirs.work.join("tree");
        if !tree.is_dir() {
            // Renamed last, so that a tree under this name is complete.
            let unfinished = dirs.work.join("tree.unpacking");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            fs::create_dir(&unfinished)?;
            phase.detail("unpack the source");
            run_logged(
                command("tar")
                    .args(["--extract", "--xz", "--strip-components=1", "--file", SOURCE_ARCHIVE])
                    .arg("--directory")
                    .arg(&unfinished),
                &log,
            )?;
            phase.detail("apply the patches");
            self.patch(&unfinished, &log)?;
            self.importer.add_to_tree(&unfinished)?;
            fs::rename(&unfinished, &tree)?;
        }
        self.configure(&tree, &log)?;
        compile(&tree, &phase)?;
        phase.detail("build the kernel's own tests");
        selftests::build(&tree, &dirs.result.join(SELFTESTS_DIR), &log)?;
        phase.detail("check the patches");
        self.check_patches(&tree, &dirs.result.join(REPORTS))?;
        self.importer.check(&tree, &dirs.result.join(REPORTS))?;
        for (from, to) in
            [("arch/x86/boot/bzImage", IMAGE), ("System.map", "System.map"), (".config", "config")]
        {
            fs::copy(tree.join(from), dirs.result.join(to))
                .with_context(|| format!("the kernel build made no {from}"))?;
        }
        Ok(())
    }

    fn patch(&self, tree: &Path, log: &Path) -> Result<()> {
        for patch in &self.patches {
            run_logged(
                command("patch")
                    .args(["--strip=1", "--batch", "--forward", "--fuzz=0", "--input"])
                    .arg(patch)
                    .current_dir(tree),
                log,
            )
            .with_context(|| format!("{} does not apply", files::name(patch)))?;
        }
        Ok(())
    }

    fn configure(&self, tree: &Path, log: &Path) -> Result<()> {
        run_logged(make(tree).arg("allnoconfig"), log)?;
        run_logged(
            command("scripts/kconfig/merge_config.sh")
                .args(["-m", ".config"])
                .arg(&self.fragment)
                .current_dir(tree),
            log,
        )?;
        run_logged(make(tree).arg("olddefconfig"), log)?;
        let lost = lost_options(
            &fs::read_to_string(&self.fragment)?,
            &fs::read_to_string(tree.join(".config"))?,
        );
        if !lost.is_empty() {
            bail!(
                "{}: options that the final configuration lacks (a dependency is missing, or no \
                 option has that name):\n    {}",
                self.fragment.display(),
                lost.join("\n    ")
            );
        }
        Ok(())
    }

    fn check_patches(&self, tree: &Path, reports: &Path) -> Result<()> {
        fs::create_dir(reports)?;
        for patch in &self.patches {
            let mut text = String::new();
            run_lines(
                command("perl")
                    .args(["scripts/checkpatch.pl", "--color=never", "--show-types"])
                    .arg(patch)
                    .current_dir(tree),
                |line| {
                    text.push_str(line);
                    text.push('\n');
                },
            )?;
            fs::write(reports.join(files::name(patch)).with_extension("txt"), text)?;
        }
        Ok(())
    }
}

fn compile(tree: &Path, phase: &Phase) -> Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let log = tree.with_file_name("compile.log");
    let mut lines = Vec::new();
    let status = run_lines(make(tree).arg(format!("-j{jobs}")).arg("bzImage"), |line| {
        phase.detail(line);
        lines.push(line.to_owned());
    })?;
    fs::write(&log, lines.join("\n"))?;
    if !status.success() {
        let errors: Vec<&str> = lines
            .iter()
            .map(String::as_str)
            .filter(|line| line.contains("error:") || line.contains("Error "))
            .collect();
        bail!("the kernel does not compile:\n{}\n(in {})", errors.join("\n"), log.display());
    }
    Ok(())
}

/// Options of the fragment that the final configuration does not have as the fragment says.
fn lost_options(fragment: &str, config: &str) -> Vec<String> {
    let unset = |line: &str| {
        line.strip_prefix("# ")?.strip_suffix(" is not set").map(|option| format!("{option}="))
    };
    let wanted = fragment.lines().map(str::trim);
    wanted
        .filter(|line| match unset(line) {
            Some(assignment) => config.lines().any(|have| have.starts_with(&assignment)),
            None => line.starts_with("CONFIG_") && !config.lines().any(|have| have == *line),
        })
        .map(str::to_owned)
        .collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_options_are_named() {
        let fragment = "# A comment\nCONFIG_A=y\nCONFIG_B=\"x y\"\n# CONFIG_C is not set\n\
                        # CONFIG_D is not set\nCONFIG_E=y\nCONFIG_F=12\n";
        let config = "CONFIG_A=y\nCONFIG_B=\"x y\"\n# CONFIG_C is not set\nCONFIG_D=y\n\
                      CONFIG_EE=y\nCONFIG_F=1\n";
        assert_eq!(
            lost_options(fragment, config),
            ["# CONFIG_D is not set", "CONFIG_E=y", "CONFIG_F=12"]
        );
        assert!(lost_options(fragment, fragment).is_empty());
    }
}
