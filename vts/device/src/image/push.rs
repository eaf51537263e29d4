// SPDX-License-Identifier: Apache-2.0
//! The disk with what a tester would `adb push`, and the plan.

use std::path::{Path, PathBuf};

use anyhow::Result;
use vts_init::plan::{self, Step, FILES_DIR, PLAN_FILE};

use crate::guest::GuestPrograms;
use crate::image::stage::Stage;
use crate::kernel::Kernel;
use crate::selftests::SELFTESTS;

/// Test programs of this workspace.
const TESTS: [&str; 2] = ["VtsHalDmaBufLoaderTargetTest", "VtsKernelDmaBufCopyFileRangeTest"];

/// Builds the image in `dir`.
pub fn build(
    kernel: &Kernel,
    programs: &GuestPrograms,
    steps: &[Step],
    dir: &Path,
    log: &Path,
) -> Result<PathBuf> {
    let stage = Stage::new(dir.join("push"))?;
    for test in TESTS {
        stage.program(&format!("{FILES_DIR}/{test}"), programs.path(test)?)?;
    }
    for test in SELFTESTS {
        stage.program(&format!("{FILES_DIR}/{test}"), &kernel.selftests().join(test))?;
    }
    stage.text(PLAN_FILE, &plan::serialize(steps)?)?;
    let image = dir.join("push.erofs");
    stage.write(&image, None, log)?;
    Ok(image)
}
