// SPDX-License-Identifier: Apache-2.0
//! The push image: files for the device, and the plan.

use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use vts_init::file_contexts::{FileContexts, Kind};
use vts_init::ids::AID_SHELL;
use vts_init::plan;
use vts_init::step::{Step, PUSH_DIR};

use crate::{mounts, selinux};

const PUSH_DISK: &str = "/dev/block/vdc";
const PUSH_MOUNT: &str = "/mnt/push";

/// Mounts the push image, copies its files and reads its plan; `None` if the machine has no such
/// disk or the image no plan.
pub fn load(contexts: &FileContexts) -> Result<Option<Vec<Step>>> {
    let disk = Path::new(PUSH_DISK);
    if !disk.exists() {
        return Ok(None);
    }
    let fs_type = mounts::detect(disk)?;
    mounts::mount(fs_type, PUSH_DISK, PUSH_MOUNT, &["ro", "nosuid", "nodev", "noexec"])?;
    let files = Path::new(PUSH_MOUNT).join(plan::FILES_DIR);
    if files.exists() {
        push(contexts, &files, Path::new(PUSH_DIR))?;
    }
    let plan = Path::new(PUSH_MOUNT).join(plan::PLAN_FILE);
    if !plan.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&plan).with_context(|| format!("reading {}", plan.display()))?;
    Ok(Some(plan::parse(&text)?))
}

/// Copies what is in `from` into `to`, as `adb push` does: owned by shell, modes kept.
fn push(contexts: &FileContexts, from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("listing {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("listing {}", from.display()))?;
        let source = entry.path();
        let target = to.join(entry.file_name());
        let metadata =
            fs::metadata(&source).with_context(|| format!("reading {}", source.display()))?;
        let kind = Kind::from(metadata.file_type());
        let context = target.to_str().and_then(|path| contexts.lookup(path, kind));
        let failed = || format!("pushing {}", target.display());
        if metadata.is_dir() {
            selinux::creating_as(context, || fs::create_dir(&target))?.with_context(failed)?;
            push(contexts, &source, &target)?;
        } else {
            selinux::creating_as(context, || fs::copy(&source, &target))?.with_context(failed)?;
        }
        let mode = fs::Permissions::from_mode(metadata.permissions().mode() & 0o777);
        fs::set_permissions(&target, mode).with_context(failed)?;
        chown(&target, Some(AID_SHELL), Some(AID_SHELL)).with_context(failed)?;
    }
    Ok(())
}
