// SPDX-License-Identifier: Apache-2.0
//! What checkpatch.pl said about the kernel patches.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::layout::REPORTS;
use crate::command::{command, run_lines};
use crate::files;

/// What checkpatch.pl said about a patch.
#[derive(Debug)]
pub struct PatchReport {
    /// Name of the patch, without its extension.
    pub patch: String,
    /// Whether it reports neither errors nor warnings.
    pub clean: bool,
    /// Its output.
    pub text: String,
}

/// What checkpatch.pl of the kernel in `tree` says about a file.
pub fn checkpatch(tree: &Path, options: &[&str], file: &Path) -> Result<String> {
    let mut text = String::new();
    let mut perl = command("perl");
    perl.args(["scripts/checkpatch.pl", "--color=never", "--show-types"]).args(options).arg(file);
    // Its status tells of warnings, as its text does.
    run_lines(perl.current_dir(tree), |line| {
        text.push_str(line);
        text.push('\n');
    })?;
    Ok(text)
}

/// What checkpatch.pl said about each patch of the kernel in `dir`; nothing if it has none.
pub fn read(dir: &Path) -> Result<Vec<PatchReport>> {
    let dir = dir.join(REPORTS);
    let mut reports = Vec::new();
    if dir.is_dir() {
        for path in files::sorted(&dir)? {
            let text = fs::read_to_string(&path)?;
            let patch = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            reports.push(PatchReport { patch, clean: is_clean(&text), text });
        }
    }
    Ok(reports)
}

/// checkpatch.pl ends with a line of totals; without one it has failed.
fn is_clean(report: &str) -> bool {
    report.lines().any(|line| line.starts_with("total: 0 errors, 0 warnings,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_decide() {
        assert!(is_clean("total: 0 errors, 0 warnings, 12 lines checked\n\nx is ready\n"));
        assert!(is_clean("total: 0 errors, 0 warnings, 3 checks, 12 lines checked\n"));
        assert!(!is_clean("total: 0 errors, 1 warnings, 12 lines checked\n"));
        assert!(!is_clean("total: 10 errors, 0 warnings, 12 lines checked\n"));
        assert!(!is_clean("Can't open perl script\n"));
    }
}
