// SPDX-License-Identifier: Apache-2.0
//! The programs of the virtual device, built as static executables.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use serde_json::Value;

use crate::command::{command, run_lines};
use crate::progress::Progress;
use crate::workspace::{Workspace, GUEST_TRIPLE};

const PACKAGES: [&str; 8] = [
    "vts_init",
    "vts_servicemanager",
    "dmabuf_loader_hal",
    "dmabufload",
    "vts_hal",
    "vts_engine",
    "vts_kernel",
    "vts_bench",
];

/// Flags that override those of configuration files. The device has no shared libraries. A small
/// request is mostly parcels, that is, many small functions; with more of them inlined it costs 4 %
/// less.
const RUSTFLAGS: &str = "-Ctarget-feature=+crt-static -Cllvm-args=-inline-threshold=1000";

/// The executables, by name.
#[derive(Debug)]
pub struct GuestPrograms {
    programs: HashMap<String, PathBuf>,
}

impl GuestPrograms {
    /// Builds the executables.
    pub fn build(workspace: &Workspace, progress: &Progress) -> Result<Self> {
        let phase = progress.phase("build the device's programs");
        let mut cargo = command(cargo());
        cargo.current_dir(workspace.root());
        cargo.args(["build", "--profile", "device", "--bins"]);
        cargo.arg("--message-format=json-render-diagnostics");
        cargo.args(["--target", GUEST_TRIPLE, "--target-dir"]).arg(workspace.guest_target());
        for package in PACKAGES {
            cargo.args(["--package", package]);
        }
        cargo.env("RUSTFLAGS", RUSTFLAGS);
        cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");

        let mut programs = HashMap::new();
        let mut text = Vec::new();
        let status = run_lines(&mut cargo, |line| match executable(line) {
            Some((name, path)) => {
                programs.insert(name, path);
            }
            None if line.starts_with('{') => {}
            None => {
                phase.detail(line);
                text.push(line.to_owned());
            }
        })?;
        if !status.success() {
            bail!("the device's programs do not build:\n{}", text.join("\n"));
        }
        Ok(Self { programs })
    }

    /// Path of an executable.
    pub fn path(&self, name: &str) -> Result<&Path> {
        let path = self.programs.get(name);
        path.map(PathBuf::as_path).with_context(|| format!("cargo built no program named {name}"))
    }
}

/// The cargo that runs this program, else the one in the path.
pub fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Name and path of the executable that a line of cargo's JSON output reports.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    let path = message.get("executable")?.as_str()?;
    Some((name.to_owned(), path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_in_cargo_output() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"init"},
            "executable":"/t/release/init","fresh":true}"#;
        assert_eq!(executable(line), Some(("init".into(), "/t/release/init".into())));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"l"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable("   Compiling x v0.1.0"), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
