// SPDX-License-Identifier: Apache-2.0
//! Regenerates the tables and charts of saved runs from their JSON.

use std::path::PathBuf;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    vts_bench_report::saved::remake(&dir.context("usage: vts_bench_report RESULTS_DIRECTORY")?)
}
