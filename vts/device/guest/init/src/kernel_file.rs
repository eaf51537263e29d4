// SPDX-License-Identifier: Apache-2.0
//! Writing to the files of procfs, sysfs, selinuxfs and cgroupfs.

use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result};

/// Writes `text` in one piece. The file must exist: just asking to create it, as
/// [`std::fs::write`] does, would be an SELinux denial.
pub fn write(path: &str, text: &str) -> Result<()> {
    File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing '{}' to {path}", text.trim_end()))
}
