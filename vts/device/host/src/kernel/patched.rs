// SPDX-License-Identifier: Apache-2.0
//! The kernels with our patches: Debian's source, the series, our configuration.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::config::Fragments;
use super::layout::{IMAGE, PATCHES, REPORTS, SELFTESTS_DIR};
use super::make::make;
use super::modules::Module;
use super::selftests;
use super::series::{self, Series};
use super::source::Source;
use crate::cache::{self, BuildDirs, Key};
use crate::command::{command, output, run_lines};
use crate::flavour::Flavour;
use crate::progress::{Phase, Progress};
use crate::workspace::Workspace;

/// Changes whenever the steps of this module, of [`make`], [`series`] or of [`selftests`] do.
const RECIPE: &str = "3";

/// Returns the directory of the kernel for this checkout's patches and configuration, after
/// building it if it is not in the cache.
pub fn build(flavour: Flavour, workspace: &Workspace, progress: &Progress) -> Result<PathBuf> {
    let (recipe, kind) = Recipe::read(flavour, workspace, progress)?;
    cache::entry(
        &cache::root()?,
        kind,
        &recipe.key()?,
        || progress.print("waiting for another run that builds the kernel"),
        |dirs| recipe.build(dirs, progress),
    )
}

#[derive(Debug)]
struct Recipe {
    source: Source,
    series: Series,
    fragments: Fragments,
    modules: Vec<Module>,
}

impl Recipe {
    /// What the kernel of a flavour is made from, and the kind of its entries in the cache: one
    /// flavour's build neither waits for another's nor displaces it.
    fn read(
        flavour: Flavour,
        workspace: &Workspace,
        progress: &Progress,
    ) -> Result<(Self, &'static str)> {
        let file = |name: &str| workspace.source("vts/device/kernel").join(name);
        let mut fragments = vec![file("config.fragment")];
        let (patches, port) = (file("patches"), file("port"));
        let (source, series, kind) = match flavour {
            Flavour::Patched => (Source::installed()?, Series::read(&patches, None)?, "kernel"),
            Flavour::Debug => {
                fragments.push(file("debug.fragment"));
                (Source::installed()?, Series::read(&patches, None)?, "debug-kernel")
            }
            Flavour::Newest => {
                fragments.push(port.join("config.fragment"));
                let series = Series::read(&patches, Some(&port))?;
                (Source::newest(progress)?, series, "newest-kernel")
            }
            Flavour::Stock => bail!("the kernel of flavour '{flavour}' has no patches"),
        };
        let modules = Module::all(workspace)?;
        Ok((Self { source, series, fragments: Fragments(fragments), modules }, kind))
    }

    fn key(&self) -> Result<String> {
        let mut key = Key::default();
        key.add("recipe", RECIPE);
        key.add("source", &self.source.version);
        key.add("compiler", output(command("gcc").arg("--version"))?);
        self.fragments.add_to(&mut key)?;
        self.series.add_to(&mut key)?;
        self.modules.iter().try_for_each(|module| module.add_to_key(&mut key))?;
        Ok(key.finish())
    }

    fn build(&self, dirs: &BuildDirs, progress: &Progress) -> Result<()> {
        let phase = progress.phase("build the kernel");
        let log = dirs.work.join("log");
        let tree = dirs.work.join("tree");
        let patches = self.series.write(&dirs.result.join(PATCHES), &log)?;
        if !tree.is_dir() {
            // Renamed last, so that a tree under this name is complete.
            let unfinished = dirs.work.join("tree.unpacking");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            fs::create_dir(&unfinished)?;
            phase.detail("unpack the source");
            self.source.unpack(&unfinished, &log)?;
            phase.detail("apply the patches");
            series::apply(&patches, &unfinished, &log)?;
            self.modules.iter().try_for_each(|module| module.add_to_tree(&unfinished))?;
            fs::rename(&unfinished, &tree)?;
        }
        self.fragments.configure(&tree, &log)?;
        compile(&tree, &phase)?;
        phase.detail("build the kernel's own tests");
        selftests::build(&tree, &dirs.result.join(SELFTESTS_DIR), &log)?;
        phase.detail("check the patches");
        let reports = dirs.result.join(REPORTS);
        series::check(&patches, &tree, &reports)?;
        self.modules.iter().try_for_each(|module| module.check(&tree, &reports))?;
        for (from, to) in
            [("arch/x86/boot/bzImage", IMAGE), ("System.map", "System.map"), (".config", "config")]
        {
            fs::copy(tree.join(from), dirs.result.join(to))
                .with_context(|| format!("the kernel build made no {from}"))?;
        }
        // Last: the objects made for it are not the kernel's.
        check_warnings(&tree, &series::c_files(&patches)?)
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

/// Compiles the patched files once more, with the warnings that the kernel's maintainers ask for.
fn check_warnings(tree: &Path, files: &[String]) -> Result<()> {
    let objects = files.iter().filter_map(|file| Some(format!("{}.o", file.strip_suffix(".c")?)));
    let mut warnings = Vec::new();
    let status = run_lines(make(tree).arg("W=1").args(objects), |line| {
        if line.contains("warning:") || line.contains("error:") {
            warnings.push(line.to_owned());
        }
    })?;
    if !status.success() || !warnings.is_empty() {
        bail!("make W=1 warns of patched files ({status}):\n{}", warnings.join("\n"));
    }
    Ok(())
}
