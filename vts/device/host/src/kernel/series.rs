// SPDX-License-Identifier: Apache-2.0
//! The patches of a kernel: the series as it is, or its port to another version.
//!
//! A port is what differs from the series: `NAME.diff` is a diff of the patch `NNNN-NAME.patch`
//! itself, `NAME.patch` takes its place, and `NAME.dropped` says why that kernel does not need it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use super::patch_report;
use crate::cache::Key;
use crate::command::{command, run_logged};
use crate::files;

/// Patches in the order in which they are applied.
#[derive(Debug)]
pub struct Series {
    patches: Vec<Patch>,
}

#[derive(Debug)]
struct Patch {
    /// `NNNN-NAME.patch`
    name: String,
    /// The file that has its text.
    text: PathBuf,
    /// What the port changes in the text.
    diff: Option<PathBuf>,
}

impl Series {
    /// The patches in the directory `dir`, changed as the directory `port` says, if there is one.
    pub fn read(dir: &Path, port: Option<&Path>) -> Result<Self> {
        let mut patches: Vec<Patch> = with_extension(dir, "patch")?
            .into_iter()
            .map(|path| Patch { name: files::name(&path), text: path, diff: None })
            .collect();
        if let Some(port) = port {
            for dropped in with_extension(port, "dropped")? {
                let before = patches.len();
                patches.retain(|patch| !is_of(&dropped, &patch.name));
                ensure!(patches.len() + 1 == before, "{} drops no patch", dropped.display());
            }
            let mut change = |extension: &str, set: fn(&mut Patch, PathBuf)| -> Result<()> {
                for file in with_extension(port, extension)? {
                    let patch = patches.iter_mut().find(|patch| is_of(&file, &patch.name));
                    set(patch.with_context(|| format!("{} has no patch", file.display()))?, file);
                }
                Ok(())
            };
            change("diff", |patch, diff| patch.diff = Some(diff))?;
            change("patch", |patch, text| patch.text = text)?;
        }
        Ok(Self { patches })
    }

    /// Adds the series to what a build depends on.
    pub fn add_to(&self, key: &mut Key) -> Result<()> {
        for Patch { name, text, diff } in &self.patches {
            for file in [Some(text), diff.as_ref()].into_iter().flatten() {
                key.add(name, files::read(file)?);
            }
        }
        Ok(())
    }

    /// Writes the patches, changed for the port, into a directory, and returns their paths.
    pub fn write(&self, to: &Path, log: &Path) -> Result<Vec<PathBuf>> {
        files::create_dir(to)?;
        let mut written = Vec::new();
        for Patch { name, text, diff } in &self.patches {
            let copy = to.join(name);
            fs::write(&copy, files::read(text)?)?;
            if let Some(diff) = diff {
                run_logged(patch(diff).arg(&copy), log)
                    .with_context(|| format!("{} does not apply", files::name(diff)))?;
            }
            written.push(copy);
        }
        Ok(written)
    }
}

/// Whether a file of the port is about a patch. Its name has no number: when patches are put in or
/// taken out, the others get new ones.
fn is_of(port: &Path, patch: &str) -> bool {
    let name = patch.split_once('-').and_then(|(_, name)| name.strip_suffix(".patch"));
    port.file_stem().is_some_and(|stem| Some(stem) == name.map(OsStr::new))
}

/// Applies patches to a tree.
pub fn apply(patches: &[PathBuf], tree: &Path, log: &Path) -> Result<()> {
    for path in patches {
        run_logged(patch(path).arg("--strip=1").current_dir(tree), log)
            .with_context(|| format!("{} does not apply", files::name(path)))?;
    }
    Ok(())
}

/// Writes what checkpatch.pl says about each patch into the directory `reports`.
pub fn check(patches: &[PathBuf], tree: &Path, reports: &Path) -> Result<()> {
    fs::create_dir(reports)?;
    for patch in patches {
        let text = patch_report::checkpatch(tree, &[], patch)?;
        fs::write(reports.join(files::name(patch)).with_extension("txt"), text)?;
    }
    Ok(())
}

/// The kernel's source files that patches change or add.
pub fn c_files(patches: &[PathBuf]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for path in patches {
        let text = fs::read_to_string(path)?;
        let changed = text.lines().filter_map(|line| line.strip_prefix("+++ b/"));
        files.extend(changed.filter(|file| is_of_kernel(file)).map(str::to_owned));
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Programs of the tree, samples and documentation are not part of the kernel.
fn is_of_kernel(file: &str) -> bool {
    file.ends_with(".c")
        && !["tools/", "samples/", "Documentation/"].iter().any(|dir| file.starts_with(dir))
}

/// The program `patch`, which takes nothing for granted.
fn patch(input: &Path) -> std::process::Command {
    let mut patch = command("patch");
    patch.args(["--batch", "--forward", "--fuzz=0", "--no-backup-if-mismatch", "--input"]);
    patch.arg(input);
    patch
}

fn with_extension(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut paths = files::sorted(dir)?;
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel");

    fn names(patches: &[PathBuf]) -> Vec<String> {
        patches.iter().map(|path| files::name(path)).collect()
    }

    #[test]
    fn a_port_changes_and_drops_patches() {
        let dir = tempfile::tempdir().unwrap();
        let (series, port) = (dir.path().join("series"), dir.path().join("port"));
        for dir in [&series, &port] {
            fs::create_dir(dir).unwrap();
        }
        for name in ["0001-a.patch", "0002-b.patch", "0003-c.patch"] {
            fs::write(series.join(name), "1\n2\n3\n").unwrap();
        }
        fs::write(port.join("a.diff"), "--- a\n+++ b\n@@ -1,3 +1,3 @@\n 1\n-2\n+x\n 3\n").unwrap();
        fs::write(port.join("b.dropped"), "it is upstream\n").unwrap();
        fs::write(port.join("c.patch"), "other\n").unwrap();

        let log = dir.path().join("log");
        let write = |port| {
            let to = dir.path().join("written");
            let written = Series::read(&series, port)?.write(&to, &log)?;
            let texts = written.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
            anyhow::Ok((names(&written), texts))
        };
        let (all, texts) = write(None).unwrap();
        assert_eq!(all, ["0001-a.patch", "0002-b.patch", "0003-c.patch"]);
        assert!(texts.iter().all(|text| text == "1\n2\n3\n"), "{texts:?}");
        let (ported, texts) = write(Some(&port)).unwrap();
        assert_eq!(ported, ["0001-a.patch", "0003-c.patch"]);
        assert_eq!(texts, ["1\nx\n3\n", "other\n"]);

        fs::write(series.join("0001-a.patch"), "1\n4\n3\n").unwrap();
        let error = format!("{:#}", write(Some(&port)).unwrap_err());
        assert!(error.starts_with("a.diff does not apply"), "{error}");
        fs::write(port.join("z.dropped"), "").unwrap();
        assert!(Series::read(&series, Some(&port)).is_err());
    }

    #[test]
    fn the_port_fits_the_series() {
        let kernel = Path::new(DIR);
        let series = Series::read(&kernel.join("patches"), Some(&kernel.join("port"))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let patches = series.write(&dir.path().join("patches"), &log).unwrap();
        assert!(!patches.is_empty());
        assert!(c_files(&patches).unwrap().contains(&"drivers/dma-buf/dma-buf.c".to_owned()));
    }

    #[test]
    fn only_the_kernels_own_files_are_compiled() {
        assert!(is_of_kernel("fs/read_write.c"));
        for other in ["include/linux/fs.h", "tools/testing/selftests/x.c", "samples/x.c"] {
            assert!(!is_of_kernel(other), "{other}");
        }
    }
}
