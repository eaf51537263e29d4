// SPDX-License-Identifier: Apache-2.0
//! First stage: from the initial RAM disk to the system image, with SELinux enforcing.

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Error, Result};
use rustix::io::Errno;

use crate::{kernel_file, label, log, mounts, port, selinux};

const SYSTEM_DISK: &str = "/dev/vda";
const NEW_ROOT: &str = "/system_root";
const MODULES_DIR: &str = "/lib/modules";
const INIT: &str = "/system/bin/init";

/// Runs the first stage; returns only if it failed.
pub fn run() -> Error {
    match stage() {
        Ok(never) => match never {},
        Err(error) => error.context("first stage"),
    }
}

fn stage() -> Result<Infallible> {
    for dir in ["/dev", "/proc", "/sys", NEW_ROOT] {
        fs::create_dir_all(dir).with_context(|| format!("creating {dir}"))?;
    }
    mounts::mount("proc", "proc", "/proc", &["nosuid", "nodev", "noexec", "hidepid=2,gid=3009"])?;
    mounts::mount("sysfs", "sysfs", "/sys", &["nosuid", "nodev", "noexec"])?;
    mounts::mount("devtmpfs", "devtmpfs", "/dev", &["nosuid", "mode=0755"])?;
    fs::create_dir("/dev/pts").context("creating /dev/pts")?;
    mounts::mount("devpts", "devpts", "/dev/pts", &["nosuid", "noexec"])?;
    // Rate limits would drop log lines and SELinux denials that the report must hold.
    kernel_file::write("/proc/sys/kernel/printk_devkmsg", "on\n")?;
    kernel_file::write("/proc/sys/kernel/printk_ratelimit", "0")?;
    log::info("first stage");
    load_modules()?;

    let cmdline = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
    let disk = Path::new(SYSTEM_DISK);
    mounts::wait_for(disk)?;
    let fs_type = match mounts::cmdline_value(&cmdline, "vts.system_fs") {
        Some(fs_type) => fs_type,
        None => mounts::detect(disk)?.to_owned(),
    };
    mounts::mount(&fs_type, SYSTEM_DISK, NEW_ROOT, &["ro", "nodev"])?;
    switch_root()?;
    log::info(&format!("{fs_type} system image mounted"));

    mounts::mount("selinuxfs", "selinuxfs", selinux::SELINUXFS, &["nosuid", "noexec"])?;
    selinux::load_policy()?;
    label_early_nodes()?;
    log::detach_streams()?;
    selinux::enforce()?;
    let error = Command::new(INIT).arg("second_stage").exec();
    Err(error).with_context(|| format!("executing {INIT}"))
}

/// The second stage labels all of /dev, but must be able to say so if it fails before that.
fn label_early_nodes() -> Result<()> {
    let contexts = label::load()?;
    let early = ["/dev/console", "/dev/kmsg", "/dev/null"].map(PathBuf::from);
    early
        .into_iter()
        .chain(port::node())
        .try_for_each(|node| label::restorecon(&contexts, &node, false))
}

/// Loads the modules that `modules.load` lists, in its order; a kernel without modules has no list.
fn load_modules() -> Result<()> {
    let list = Path::new(MODULES_DIR).join("modules.load");
    if !list.exists() {
        return Ok(());
    }
    let list = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    for name in list.lines().map(str::trim).filter(|name| !name.is_empty()) {
        let path = Path::new(MODULES_DIR).join(name);
        let module = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        match rustix::system::finit_module(&module, c"", 0) {
            // A faster variant of something generic, for a processor that this is not.
            Err(Errno::NODEV) => log::info(&format!("{name}: no device for it")),
            loaded => loaded.with_context(|| format!("loading {}", path.display()))?,
        }
    }
    Ok(())
}

/// Makes the system image the root; the mounts made so far move along with what is mounted in them.
fn switch_root() -> Result<()> {
    for dir in ["/dev", "/proc", "/sys"] {
        let target = format!("{NEW_ROOT}{dir}");
        rustix::mount::mount_move(dir, &target)
            .with_context(|| format!("moving {dir} to {target}"))?;
    }
    // The RAM disk stays mounted below; what it holds would only take memory.
    fs::remove_file("/init").context("removing /init")?;
    if Path::new(MODULES_DIR).exists() {
        fs::remove_dir_all(MODULES_DIR).with_context(|| format!("removing {MODULES_DIR}"))?;
    }
    std::env::set_current_dir(NEW_ROOT).context("entering the system image")?;
    rustix::mount::mount_move(".", "/").context("moving the system image to /")?;
    rustix::process::chroot(".").context("chroot")?;
    std::env::set_current_dir("/").context("chdir /")
}
