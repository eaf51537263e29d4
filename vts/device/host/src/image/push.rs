// SPDX-License-Identifier: Apache-2.0
//! The disk with the plan, and with the files that a tester would `adb push`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use vts_init::plan::{self, FILES_DIR, PLAN_FILE};
use vts_init::step::Step;

use crate::image::stage::Stage;

/// Builds the image in `dir`, with the given programs under the given names.
pub fn build(
    programs: &[(String, PathBuf)],
    steps: &[Step],
    dir: &Path,
    log: &Path,
) -> Result<PathBuf> {
    let stage = Stage::new(dir.join("push"))?;
    for (name, path) in programs {
        stage.program(&format!("{FILES_DIR}/{name}"), path)?;
    }
    stage.text(PLAN_FILE, &plan::serialize(steps)?)?;
    let image = dir.join("push.erofs");
    stage.write(&image, None, log)?;
    Ok(image)
}
