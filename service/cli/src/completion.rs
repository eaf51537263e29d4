// SPDX-License-Identifier: Apache-2.0
//! `dmabufload completion`: prints the script by which a shell completes commands and options.

use std::io::Write;

use clap::CommandFactory;

use crate::args::{Args, CompletionArgs};

/// Prints the script.
pub fn run(args: &CompletionArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "dmabufload", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
