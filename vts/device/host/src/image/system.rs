// SPDX-License-Identifier: Apache-2.0
//! The read-only disk with /system and /vendor.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, output};
use crate::files;
use crate::guest::GuestPrograms;
use crate::image::config_fs;
use crate::image::stage::Stage;
use crate::policy::Compiled;
use crate::workspace::Workspace;

const BUSYBOX: &str = "/bin/busybox";

/// What later stages of the boot mount on.
const MOUNT_POINTS: [&str; 5] = ["data", "dev", "mnt", "proc", "sys"];

/// Builds the image in `dir`.
pub fn build(
    workspace: &Workspace,
    programs: &GuestPrograms,
    policy: &Compiled,
    dir: &Path,
    log: &Path,
) -> Result<PathBuf> {
    let stage = Stage::new(dir.join("system"))?;
    for mount_point in MOUNT_POINTS {
        stage.directory(mount_point)?;
    }
    for program in ["init", "servicemanager"] {
        stage.program(&format!("system/bin/{program}"), programs.path(program)?)?;
    }
    // Android keeps others out by group, too, which an image made without root cannot tell.
    stage.set_uid_program("system/xbin/su", programs.path("su")?)?;
    add_shell(&stage)?;
    add_vendor(&stage, workspace, programs)?;
    for path in files::sorted(&workspace.source("vts/device/guest/init/etc"))? {
        let name = files::name(&path);
        let starts_services = name.ends_with(".rc") && name != "ueventd.rc";
        let place = if starts_services { "system/etc/init" } else { "system/etc" };
        stage.config(&format!("{place}/{name}"), &path)?;
    }
    for (place, path) in [
        ("system/etc/selinux/plat_file_contexts", &policy.plat_file_contexts),
        ("system/etc/selinux/plat_service_contexts", &policy.plat_service_contexts),
        ("vendor/etc/selinux/precompiled_sepolicy", &policy.policy),
        ("vendor/etc/selinux/vendor_file_contexts", &policy.vendor_file_contexts),
        ("vendor/etc/selinux/vendor_service_contexts", &policy.vendor_service_contexts),
    ] {
        stage.config(place, path)?;
    }

    let file_contexts = dir.join("file_contexts");
    let all = [&policy.plat_file_contexts, &policy.vendor_file_contexts]
        .map(|path| fs::read_to_string(path).with_context(|| format!("{}", path.display())));
    let [platform, vendor] = all;
    fs::write(&file_contexts, format!("{}\n{}", platform?, vendor?))?;
    let image = dir.join("system.erofs");
    stage.write(&image, Some(&file_contexts), log)?;
    Ok(image)
}

/// The shell and the usual commands, all of them busybox; the shell is a file of its own because it
/// has its own label.
fn add_shell(stage: &Stage) -> Result<()> {
    stage.program("system/bin/sh", Path::new(BUSYBOX))?;
    stage.program("system/bin/toybox", Path::new(BUSYBOX))?;
    // Busybox goes by the name it is called by, and knows itself only under its own.
    stage.link("system/bin/busybox", "toybox")?;
    // What has a program of its own gets no link.
    for applet in output(command(BUSYBOX).arg("--list"))?.lines().filter(|a| *a != "su") {
        stage.link(&format!("system/bin/{applet}"), "toybox")?;
    }
    Ok(())
}

fn add_vendor(stage: &Stage, workspace: &Workspace, programs: &GuestPrograms) -> Result<()> {
    const SERVICE: &str = "vendor.dmabuf.loader-service";
    stage.program(&format!("vendor/bin/hw/{SERVICE}"), programs.path("dmabuf_loader_service")?)?;
    stage.program("vendor/bin/dmabufload", programs.path("dmabufload")?)?;
    for (place, name) in [
        ("vendor/etc/init", format!("{SERVICE}.rc")),
        ("vendor/etc/vintf/manifest", format!("{SERVICE}.xml")),
        ("vendor/etc", "ueventd.rc".to_owned()),
    ] {
        let from = workspace.source("service/hal").join(&name);
        stage.config(&format!("{place}/{name}"), &from)?;
    }
    let ids = workspace.source("service/hal/config.fs");
    let ids = fs::read_to_string(&ids).with_context(|| format!("cannot read {}", ids.display()))?;
    let ids = config_fs::parse(&ids)?;
    stage.text("vendor/etc/passwd", &config_fs::passwd(&ids))?;
    stage.text("vendor/etc/group", &config_fs::group(&ids))
}
