// SPDX-License-Identifier: Apache-2.0
//! The kernels of the virtual device.

mod config;
mod layout;
mod make;
mod modules;
mod patch_report;
mod patched;
mod selftests;
mod series;
mod source;
mod stock;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::flavour::Flavour;
use crate::progress::Progress;
use crate::workspace::Workspace;

pub use layout::MODULES_LOAD;
pub use selftests::SELFTESTS;

use layout::{IMAGE, MODULES, SELFTESTS_DIR};
use modules::Module;
use patch_report::PatchReport;

/// A kernel that can be booted.
#[derive(Debug)]
pub struct Kernel {
    flavour: Flavour,
    dir: PathBuf,
    /// Modules of this checkout that it loads; what it needs to boot comes first.
    test_modules: Vec<PathBuf>,
}

impl Kernel {
    /// Returns the kernel of a flavour, after making it if it is not in the cache.
    pub fn build(flavour: Flavour, workspace: &Workspace, progress: &Progress) -> Result<Self> {
        let (dir, test_modules) = match flavour {
            // They have no modules: what tests need is built in.
            Flavour::Patched | Flavour::Debug | Flavour::Newest => {
                (patched::build(flavour, workspace, progress)?, Vec::new())
            }
            Flavour::Stock => {
                let dir = stock::build(progress)?;
                let modules = Module::all(workspace)?;
                let built = modules.iter().map(|module| module.build(&dir, progress));
                let built = built.collect::<Result<_>>()?;
                (dir, built)
            }
        };
        Ok(Self { flavour, dir, test_modules })
    }

    /// Which kernel it is.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The bootable image.
    pub fn image(&self) -> PathBuf {
        self.dir.join(IMAGE)
    }

    /// What its command line has and other kernels' do not need.
    pub fn arguments(&self) -> &'static str {
        match self.flavour {
            Flavour::Patched | Flavour::Newest => "androidboot.binderfs=1",
            // ACPI times out where QEMU's translator runs a kernel this slow.
            Flavour::Debug => "androidboot.binderfs=1 acpi=off",
            // SELinux comes after AppArmor in its built-in order, and only one of them is used.
            Flavour::Stock => "lsm=selinux",
        }
    }

    /// Whether it finds processors and devices by ACPI.
    pub fn has_acpi(&self) -> bool {
        !self.arguments().contains("acpi=off")
    }

    /// The modules that the device loads at boot, in this order.
    pub fn modules(&self) -> Result<Vec<PathBuf>> {
        let dir = self.dir.join(MODULES);
        if !dir.is_dir() {
            return Ok(Vec::new());
        }
        let list = dir.join(MODULES_LOAD);
        let list =
            fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        let needed = list.lines().map(|name| dir.join(name));
        Ok(needed.chain(self.test_modules.iter().cloned()).collect())
    }

    /// Directory of the kernel's own tests, if they were built with it.
    pub fn selftests(&self) -> Option<PathBuf> {
        Some(self.dir.join(SELFTESTS_DIR)).filter(|dir| dir.is_dir())
    }

    /// What checkpatch.pl said about each patch.
    pub fn patch_reports(&self) -> Result<Vec<PatchReport>> {
        patch_report::read(&self.dir)
    }
}
