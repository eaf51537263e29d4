// SPDX-License-Identifier: Apache-2.0
//! Where things are: the source tree, the build directory, the logs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::files;
use crate::flavour::Flavour;

/// Target triple of everything that runs on the virtual device.
pub const GUEST_TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The directories of one checkout.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the checkout this program was built from.
    pub fn locate() -> Result<Self> {
        // Cargo sets the variable at run time too, which holds when the checkout has moved.
        let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest_dir
            .ancestors()
            .find(|dir| dir.join("Cargo.lock").is_file())
            .context("no directory above this package has a Cargo.lock")?
            .to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Root of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the source tree.
    pub fn source(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Cargo's build directory for the device, apart from the host's: the two are built with
    /// different flags and would otherwise rebuild each other.
    pub fn guest_target(&self) -> PathBuf {
        self.target.join("device")
    }

    /// Images, policy and build log, which are made before a device runs.
    pub fn device_dir(&self) -> Result<PathBuf> {
        self.output_dir("device")
    }

    /// Logs of one run of a device.
    pub fn run_dir(&self, flavour: Flavour, plan: &str) -> Result<PathBuf> {
        self.output_dir(&format!("{flavour}/{plan}"))
    }

    /// Logs of the host tests.
    pub fn host_dir(&self) -> Result<PathBuf> {
        self.output_dir("host")
    }

    fn output_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.target.join("vts").join(name);
        files::create_dir(&dir)?;
        Ok(dir)
    }
}
