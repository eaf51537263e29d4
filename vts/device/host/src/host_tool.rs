// SPDX-License-Identifier: Apache-2.0
//! A program of this machine that the device runs, too: with its libraries, as the device has none.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, output};
use crate::files;

/// Where programs of this machine and their libraries are pushed to.
pub const DIR: &str = "tools";

/// How the device runs a program of this machine.
pub const RUN: &str = "tools/loader --library-path tools";

/// The program, its libraries and their loader, by the names under which they are pushed.
pub fn pushed(name: &str) -> Result<Vec<(String, PathBuf)>> {
    let program = output(command("sh").args(["-c", "command -v \"$0\"", name]))
        .with_context(|| format!("this machine has no {name}"))?;
    let program = PathBuf::from(program.trim());
    let libraries = output(command("ldd").arg(&program))?;
    let mut all = vec![(format!("{DIR}/{name}"), program)];
    all.extend(libraries_in(&libraries).map(|path| (place(path), path.to_owned())));
    Ok(all)
}

fn place(library: &Path) -> String {
    let name = files::name(library);
    let name = if name.starts_with("ld-linux") { "loader" } else { &name };
    format!("{DIR}/{name}")
}

/// The files that `ldd` names; the kernel's own library is no file.
fn libraries_in(text: &str) -> impl Iterator<Item = &Path> {
    let words = text.lines().map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.flatten().map(Path::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_has_the_name_that_it_is_run_by() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\
                    \tlibuuid.so.1 => /lib/libuuid.so.1 (0x2)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let places: Vec<String> = libraries_in(text).map(place).collect();
        assert_eq!(places, ["tools/libuuid.so.1", "tools/loader"]);
        assert!(RUN.starts_with(&places[1]));
    }
}
