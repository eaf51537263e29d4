// SPDX-License-Identifier: Apache-2.0
//! The initial RAM disk: a `newc` archive with the first-stage init and the modules it loads.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc::ModeFileType::{Char, Directory, Regular};
use cpio::newc::{self, ModeFileType};

use crate::files;
use crate::kernel::MODULES_LOAD;

/// Device number of /dev/console.
const CONSOLE: (u32, u32) = (5, 1);

/// Where the first-stage init finds the modules.
const MODULES_DIR: &str = "lib/modules";

/// Writes the RAM disk; the modules are loaded in the given order.
pub fn write(init: &Path, modules: &[PathBuf], image: &Path) -> Result<()> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let program = read(init)?;
    let modules = modules
        .iter()
        .map(|path| Ok((files::name(path), read(path)?)))
        .collect::<Result<Vec<_>>>()?;
    fs::write(image, archive(&program, &modules)?)
        .with_context(|| format!("cannot write {}", image.display()))
}

fn archive(init: &[u8], modules: &[(String, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut inode = 0;
    let mut add = |name: &str, kind: ModeFileType, permissions: u32, data: &[u8]| {
        inode += 1;
        let len = u32::try_from(data.len()).map_err(io::Error::other)?;
        let (major, minor) = if matches!(kind, Char) { CONSOLE } else { (0, 0) };
        let entry = newc::Builder::new(name).ino(inode).mode(permissions).set_mode_file_type(kind);
        let mut entry = entry.rdev_major(major).rdev_minor(minor).write(&mut archive, len);
        entry.write_all(data)?;
        entry.finish().map(drop)
    };
    add("dev", Directory, 0o755, &[])?;
    // The kernel opens it for the first process before anything is mounted.
    add("dev/console", Char, 0o600, &[])?;
    add("init", Regular, 0o755, init)?;
    if !modules.is_empty() {
        add("lib", Directory, 0o755, &[])?;
        add(MODULES_DIR, Directory, 0o755, &[])?;
        let mut list = String::new();
        for (name, data) in modules {
            add(&format!("{MODULES_DIR}/{name}"), Regular, 0o644, data)?;
            list.push_str(name);
            list.push('\n');
        }
        add(&format!("{MODULES_DIR}/{MODULES_LOAD}"), Regular, 0o644, list.as_bytes())?;
    }
    newc::trailer(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        let module = ("a.ko".to_owned(), b"1234567".to_vec());
        fs::write(&path, archive(b"12345", &[module]).unwrap()).unwrap();
        let listing = crate::command::output(
            crate::command::command("sh")
                .args(["-c", "command -v cpio >/dev/null || exit 0; cpio -tv < \"$0\""])
                .arg(&path),
        )
        .unwrap();
        let lines: Vec<&str> = listing.lines().collect();
        if lines.is_empty() {
            println!("SKIPPED: cpio is not installed");
            return;
        }
        assert_eq!(lines.len(), 7, "{listing}");
        assert!(lines[0].starts_with("drwxr-xr-x"), "{listing}");
        assert!(lines[1].starts_with("crw-------") && lines[1].contains("5,"), "{listing}");
        assert!(lines[2].starts_with("-rwxr-xr-x") && lines[2].contains(" 5 "), "{listing}");
        assert!(lines[5].contains(" 7 ") && lines[5].ends_with("lib/modules/a.ko"), "{listing}");
        assert!(lines[6].ends_with("lib/modules/modules.load"), "{listing}");

        fs::write(&path, archive(b"", &[]).unwrap()).unwrap();
        assert!(!String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("modules"));
    }
}
