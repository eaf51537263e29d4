// SPDX-License-Identifier: Apache-2.0
//! The build system of the kernel.

use std::path::Path;
use std::process::Command;

use crate::command::command;

/// `make` in a kernel tree, with nothing of this machine in the result.
pub fn make(tree: &Path) -> Command {
    let mut make = command("make");
    make.current_dir(tree)
        .arg("ARCH=x86_64")
        .env("KBUILD_BUILD_USER", "vts")
        .env("KBUILD_BUILD_HOST", "vts")
        .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01")
        // Set by an outer make or cargo, and not meant for this build.
        .env_remove("MAKEFLAGS")
        .env_remove("CARGO_MAKEFLAGS");
    make
}
