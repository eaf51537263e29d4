// SPDX-License-Identifier: Apache-2.0
//! The kernel's own tests of dma-buf heaps, udmabuf and the series, from the tree the kernel is
//! built from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::make::make;
use crate::command::run_logged;

/// File names of the tests.
pub const SELFTESTS: [&str; 3] = ["dmabuf-heap", "udmabuf", "copy_file_range"];

/// Where they lie in the tree, in the same order.
const SOURCES: [&str; 3] = ["dmabuf-heaps", "drivers/dma-buf", "drivers/dma-buf"];

/// Builds the tests as static programs.
pub fn build(tree: &Path, to: &Path, log: &Path) -> Result<()> {
    run_logged(make(tree).arg("headers"), log)?;
    fs::create_dir(to)?;
    for (name, source) in SELFTESTS.into_iter().zip(SOURCES) {
        let dir = tree.join("tools/testing/selftests").join(source);
        run_logged(make(&dir).arg("USERLDFLAGS=-static"), log)
            .with_context(|| format!("the kernel's own test {name} does not build"))?;
        fs::copy(dir.join(name), to.join(name))
            .with_context(|| format!("the build made no {name}"))?;
    }
    Ok(())
}
