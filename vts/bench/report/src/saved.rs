// SPDX-License-Identifier: Apache-2.0
//! Saved runs: one JSON file each, and the tables and charts that are generated from it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use serde::{Deserialize, Serialize};

use crate::bounds::{self, Checked};
use crate::results::Results;
use crate::{chart, json, table};

/// The JSON file of a run, from which the other files of its directory are generated.
pub const RESULTS_FILE: &str = "results.json";

/// The chart of the cost runs on both kernels, beside the directories of the runs.
pub const SUMMARY_FILE: &str = "summary.svg";

/// The directories of the cost runs on the stock kernel and on the patched kernel.
const SUMMARY_RUNS: [&str; 2] = ["stock-cost", "patched-cost"];

/// The largest JSON file that may be saved.
pub const MAX_JSON_BYTES: u64 = 200 * 1000;

/// A run with the results of its checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The results of the run.
    #[serde(flatten)]
    pub results: Results,
    /// The checks of the bounds.
    pub checks: Vec<Checked>,
}

impl Saved {
    /// Reads the JSON file of a directory.
    ///
    /// # Errors
    /// If the file cannot be read or is not a run.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(RESULTS_FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}", path.display()))
    }

    /// Formats the tables and the checks as text.
    pub fn tables(&self) -> String {
        format!("{}\n{}", table::tables(&self.results), bounds::lines(&self.checks))
    }

    /// Generates every file of the run's directory: name and content.
    ///
    /// # Errors
    /// If a chart cannot be drawn.
    pub fn files(&self) -> Result<Vec<(String, String)>> {
        let json = (RESULTS_FILE.to_owned(), json::lines(self)?);
        let tables = ("tables.txt".to_owned(), self.tables());
        Ok([json, tables].into_iter().chain(chart::of_run(&self.results)?).collect())
    }

    /// Writes every file of the run's directory.
    ///
    /// # Errors
    /// As [`Saved::files`], or if a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        self.files()?.into_iter().try_for_each(|(name, content)| write(&dir.join(name), &content))
    }
}

/// Regenerates every file of every run in a directory from its JSON, and the summary.
///
/// # Errors
/// As [`Saved::write`], if a JSON file is larger than [`MAX_JSON_BYTES`], or if the summary lacks a
/// run or a measurement.
pub fn remake(results_dir: &Path) -> Result<()> {
    for dir in runs(results_dir)? {
        Saved::read(&dir)?.write(&dir)?;
        check_size(&dir.join(RESULTS_FILE))?;
    }
    write(&results_dir.join(SUMMARY_FILE), &summary(results_dir)?)
}

fn check_size(json: &Path) -> Result<()> {
    let bytes = fs::metadata(json)?.len();
    ensure!(bytes <= MAX_JSON_BYTES, "{} has more than {MAX_JSON_BYTES} bytes", json.display());
    Ok(())
}

/// Lists the directories of the runs.
fn runs(results_dir: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(results_dir).with_context(|| format!("{}", results_dir.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

fn summary(results_dir: &Path) -> Result<String> {
    let [stock, patched] = SUMMARY_RUNS.map(|name| Saved::read(&results_dir.join(name)));
    chart::summary(&stock?.results, &patched?.results).context("the summary")
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../results")
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn committed_files_match_their_json() {
        let runs = runs(&committed()).unwrap();
        assert!(!runs.is_empty());
        for dir in runs {
            check_size(&dir.join(RESULTS_FILE)).unwrap();
            let mut files = Saved::read(&dir).unwrap().files().unwrap();
            files.sort();
            let made: Vec<&String> = files.iter().map(|(name, _)| name).collect();
            assert_eq!(names(&dir).iter().collect::<Vec<_>>(), made, "{}", dir.display());
            for (name, content) in &files {
                let path = dir.join(name);
                let is_same = fs::read_to_string(&path).unwrap() == *content;
                assert!(is_same, "{} does not match its JSON", path.display());
            }
        }
    }

    #[test]
    fn the_committed_summary_matches_its_runs() {
        let text = fs::read_to_string(committed().join(SUMMARY_FILE)).unwrap();
        assert!(text == summary(&committed()).unwrap());
    }

    /// Makes a directory of results with one run of the given name.
    fn results_with(name: &str, change: impl FnOnce(&mut Saved)) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut saved = Saved::read(&committed().join(SUMMARY_RUNS[0])).unwrap();
        change(&mut saved);
        saved.write(&dir.path().join(name)).unwrap();
        dir
    }

    #[test]
    fn missing_files_are_regenerated() {
        let dir = results_with(SUMMARY_RUNS[0], |_| ());
        let other = Saved::read(&committed().join(SUMMARY_RUNS[1])).unwrap();
        other.write(&dir.path().join(SUMMARY_RUNS[1])).unwrap();
        let run = dir.path().join(SUMMARY_RUNS[0]);
        let tables = fs::read_to_string(run.join("tables.txt")).unwrap();
        fs::remove_file(run.join("tables.txt")).unwrap();
        remake(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(run.join("tables.txt")).unwrap(), tables);
    }

    #[test]
    fn a_run_that_is_too_large_is_refused() {
        let long = "x".repeat(usize::try_from(MAX_JSON_BYTES).unwrap());
        let dir = results_with("large", |saved| saved.results.command = long);
        let error = remake(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("results.json has more than 200000 bytes"), "{error}");
    }

    #[test]
    fn a_summary_without_a_run_is_refused() {
        let dir = results_with(SUMMARY_RUNS[1], |_| ());
        let error = remake(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("stock-cost/results.json"), "{error}");
    }
}
