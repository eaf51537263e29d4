// SPDX-License-Identifier: Apache-2.0
//! A Python with a library from the package index, in a virtual environment below the target
//! directory.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter, or why there is none with this library.
pub fn with_library(module: &str, requirement: &str) -> Result<PathBuf, String> {
    let system = PathBuf::from("python3");
    if imports(&system, module) {
        return Ok(system);
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python").join(requirement);
    let python = directory.join("bin/python3");
    if !imports(&python, module) {
        run(Command::new(&system).args(["-m", "venv", "--clear"]).arg(&directory))?;
        let options = ["--quiet", "--retries", "1", "--timeout", "20", "--only-binary", ":all:"];
        run(Command::new(&python).args(["-m", "pip", "install"]).args(options).arg(requirement))?;
    }
    if imports(&python, module) {
        return Ok(python);
    }
    Err(format!("{requirement} cannot be imported"))
}

fn imports(python: &Path, module: &str) -> bool {
    run(Command::new(python).args(["-c", &format!("import {module}")])).is_ok()
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("").to_owned();
    Err(format!("{command:?}: {last}"))
}
