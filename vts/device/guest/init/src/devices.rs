// SPDX-License-Identifier: Apache-2.0
//! What ueventd does at cold boot: owner, mode and label of every device node.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{anyhow, Context, Result};
use rustix::fs::{FileType, Mode, CWD};
use vts_init::file_contexts::{FileContexts, Kind};
use vts_init::ids::Ids;
use vts_init::rc::Ownership;
use vts_init::ueventd::{glob_matches, Permissions, Rules};

use crate::{label, selinux};

const FILES: [&str; 2] = ["/system/etc/ueventd.rc", "/vendor/etc/ueventd.rc"];
const BLOCK_DIR: &str = "/dev/block";

/// Reads the platform's and the vendor's ueventd.rc.
pub fn load_rules(ids: &Ids) -> Result<Rules> {
    let mut rules = Rules::default();
    for file in FILES {
        let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
        rules.add(file, &text, ids)?;
    }
    Ok(rules)
}

/// Applies the rules to every node of the kernel's devtmpfs and to sysfs.
pub fn cold_boot(rules: &Rules, contexts: &FileContexts) -> Result<()> {
    label::restorecon(contexts, Path::new("/dev"), false)?;
    label::make_dir(contexts, BLOCK_DIR, ownership(DIRECTORY))?;
    apply_below(rules, contexts, Path::new("/dev"))?;
    apply_sysfs(rules)
}

const DIRECTORY: Permissions = Permissions { mode: 0o755, uid: 0, gid: 0 };

fn ownership(permissions: Permissions) -> Ownership {
    Ownership {
        mode: Some(permissions.mode),
        uid: Some(permissions.uid),
        gid: Some(permissions.gid),
    }
}

fn apply_below(rules: &Rules, contexts: &FileContexts, dir: &Path) -> Result<()> {
    let device = fs::metadata(dir).with_context(|| format!("reading {}", dir.display()))?.dev();
    let entries = fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("listing {}", dir.display()))?.path();
        let name = path.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))?;
        let metadata = fs::symlink_metadata(&path).with_context(|| format!("reading {name}"))?;
        let file_type = metadata.file_type();
        if metadata.dev() != device {
            // A mount point.
        } else if file_type.is_dir() {
            // Its content first: what it is labelled as need not be open to init.
            if name != BLOCK_DIR {
                apply_below(rules, contexts, &path)?;
            }
            label::restorecon(contexts, &path, false)?;
        } else if file_type.is_block_device() {
            move_to_block_dir(rules, contexts, &path, metadata.rdev())?;
        } else if file_type.is_char_device() {
            label::set_ownership(name, ownership(rules.permissions(name)))?;
            label::restorecon(contexts, &path, false)?;
        } else {
            label::restorecon(contexts, &path, false)?;
        }
    }
    Ok(())
}

/// Android keeps block devices in /dev/block; the kernel makes them in /dev.
fn move_to_block_dir(rules: &Rules, contexts: &FileContexts, node: &Path, rdev: u64) -> Result<()> {
    let name = node.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let path = format!("{BLOCK_DIR}/{name}");
    let context = contexts.lookup(&path, Kind::Block);
    let permissions = rules.permissions(&path);
    selinux::creating_as(context, || {
        rustix::fs::mknodat(CWD, &path, FileType::BlockDevice, Mode::from(0o600), rdev)
    })?
    .with_context(|| format!("creating {path}"))?;
    label::set_ownership(&path, ownership(permissions))?;
    fs::remove_file(node).with_context(|| format!("removing {}", node.display()))
}

/// Sets owner and mode of the attributes that sysfs rules name.
fn apply_sysfs(rules: &Rules) -> Result<()> {
    for rule in &rules.sysfs {
        let fixed: &str = rule.pattern.split('*').next().unwrap_or_default();
        let start = fixed.rfind('/').map_or("/", |end| &fixed[..end]);
        for dir in matching_dirs(Path::new(start), &rule.pattern)? {
            let path = format!("{dir}/{}", rule.attribute);
            if Path::new(&path).exists() {
                label::set_ownership(&path, ownership(rule.permissions))?;
            }
        }
    }
    Ok(())
}

fn matching_dirs(dir: &Path, pattern: &str) -> Result<Vec<String>> {
    let depth = |path: &str| path.matches('/').count();
    let mut found = Vec::new();
    let Some(name) = dir.to_str() else { return Ok(found) };
    if glob_matches(pattern, name) {
        found.push(name.to_owned());
    }
    if depth(name) >= depth(pattern) {
        return Ok(found);
    }
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error).with_context(|| format!("listing {}", dir.display())),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|file_type| !file_type.is_file()) {
            found.extend(matching_dirs(&entry.path(), pattern)?);
        }
    }
    Ok(found)
}
