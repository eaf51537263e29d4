// SPDX-License-Identifier: Apache-2.0
//! The initial RAM disk: a `newc` archive with the first-stage init and the modules it loads.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::kernel::MODULES_LOAD;

const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFCHR: u32 = 0o020_000;

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
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, read(path)?))
        })
        .collect::<Result<Vec<_>>>()?;
    fs::write(image, archive(&program, &modules)?)
        .with_context(|| format!("cannot write {}", image.display()))
}

fn archive(init: &[u8], modules: &[(String, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut inode = 0;
    let mut add = |name: &str, mode: u32, device: (u32, u32), data: &[u8]| {
        inode += 1;
        entry(&mut archive, inode, name, mode, device, data)
    };
    add("dev", S_IFDIR | 0o755, (0, 0), &[])?;
    // The kernel opens it for the first process before anything is mounted.
    add("dev/console", S_IFCHR | 0o600, CONSOLE, &[])?;
    add("init", S_IFREG | 0o755, (0, 0), init)?;
    if !modules.is_empty() {
        add("lib", S_IFDIR | 0o755, (0, 0), &[])?;
        add(MODULES_DIR, S_IFDIR | 0o755, (0, 0), &[])?;
        let mut list = String::new();
        for (name, data) in modules {
            add(&format!("{MODULES_DIR}/{name}"), S_IFREG | 0o644, (0, 0), data)?;
            list.push_str(name);
            list.push('\n');
        }
        add(&format!("{MODULES_DIR}/{MODULES_LOAD}"), S_IFREG | 0o644, (0, 0), list.as_bytes())?;
    }
    add("TRAILER!!!", 0, (0, 0), &[])?;
    Ok(archive)
}

fn entry(
    archive: &mut Vec<u8>,
    inode: u32,
    name: &str,
    mode: u32,
    device: (u32, u32),
    data: &[u8],
) -> io::Result<()> {
    let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let fields = [
        inode,
        mode,
        0, // uid
        0, // gid
        1, // links
        0, // modification time
        length(data.len())?,
        0, // device it lies on
        0,
        device.0,
        device.1,
        length(name.len() + 1)?,
        0, // checksum, unused in this format
    ];
    archive.write_all(b"070701")?;
    for field in fields {
        write!(archive, "{field:08X}")?;
    }
    archive.write_all(name.as_bytes())?;
    archive.push(0);
    pad(archive);
    archive.write_all(data)?;
    pad(archive);
    Ok(())
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
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
