// SPDX-License-Identifier: Apache-2.0
//! Trials for tests that need the kernel support; they are skipped on kernels without it.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use vts_support::files::Files;
use vts_support::outcome::{skip, trial};

use crate::buffer::{Buffer, Exporter};

/// Makes the tests fail, not skip, on a kernel without the support.
const REQUIRE_SUPPORT_VARIABLE: &str = "DMABUF_TEST_REQUIRE_KERNEL_SUPPORT";

/// A test that runs for one exporter of dma-bufs.
pub type ExporterTest = fn(Exporter) -> Result<()>;

/// Makes the trial of a test of the kernel support.
pub fn support_trial(
    topic: &str,
    name: &str,
    test: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    trial(topic, name, move || {
        require_support()?;
        test()
    })
}

/// Makes the trials of tests of the kernel support, one for each exporter.
pub fn exporter_trials(topic: &str, tests: &[(&str, ExporterTest)]) -> Vec<Trial> {
    let pairs = Exporter::ALL
        .into_iter()
        .flat_map(|exporter| tests.iter().map(move |(name, test)| (exporter, *name, *test)));
    pairs
        .map(|(exporter, name, test)| {
            support_trial(topic, &format!("{name}::{exporter}"), move || test(exporter))
        })
        .collect()
}

fn require_support() -> Result<()> {
    static SUPPORTED: OnceLock<Result<bool, String>> = OnceLock::new();
    let supported = SUPPORTED.get_or_init(|| probe().map_err(|error| format!("{error:#}")));
    match supported {
        Ok(true) => Ok(()),
        Ok(false) if std::env::var_os(REQUIRE_SUPPORT_VARIABLE).is_some() => {
            anyhow::bail!("the kernel has no copy_file_range for dma-bufs")
        }
        Ok(false) => Err(skip("the kernel has no copy_file_range for dma-bufs")),
        Err(error) => anyhow::bail!("probing the kernel: {error}"),
    }
}

/// Attempts a load that the kernel can refuse only for lack of support.
fn probe() -> Result<bool> {
    let files = Files::new()?;
    let file = files.patterned("probe", 1, 4096)?.buffered()?;
    let buffer = Buffer::new(Exporter::SystemHeap, 4096)?;
    match buffer.load(&file, 0, 0, 4096) {
        Ok(_) => Ok(true),
        Err(Errno::INVAL | Errno::XDEV) => Ok(false),
        Err(error) => Err(error).context("loading a page of a regular file"),
    }
}
