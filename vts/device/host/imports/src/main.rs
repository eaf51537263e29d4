// SPDX-License-Identifier: Apache-2.0
//! Prints the imports between the files of a package of this workspace.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Prints the imports between the files of a package; fails if they form a circle.
#[derive(Debug, Parser)]
struct Arguments {
    /// Name of a package of this workspace, such as dmabuf_engine.
    package: String,

    /// Print the drawing in the language of Graphviz.
    #[arg(long)]
    dot: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let drawing = vts_imports::draw(&arguments.package)?;
    print!("{}", if arguments.dot { drawing.dot() } else { drawing.to_string() });
    let circles = drawing.circles();
    for circle in &circles {
        eprintln!("circle: {circle}");
    }
    Ok(if circles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
