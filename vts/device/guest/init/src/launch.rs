// SPDX-License-Identifier: Apache-2.0
//! Starting programs: the part that runs in init, and the part that runs in the new process.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Error, Result};

use nix::sys::signal::SigSet;
use nix::unistd::{setgroups, setresgid, setresuid, Gid, Uid};
use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use crate::{kernel_file, mounts, reaper, selinux};

/// Exit status of a process that failed to execute its program, as a shell's.
pub const EXEC_FAILED: u8 = 127;

const INIT: &str = "/system/bin/init";
const CGROUP_ROOT: &str = "/sys/fs/cgroup";
const LAST_CAPABILITY: u32 = 40;

/// What a new process becomes before it executes its program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// SELinux context to ask for.
    pub context: Option<String>,
    /// Name of its cgroup.
    pub cgroup: String,
    /// Capabilities to keep.
    pub capabilities: Option<Vec<u32>>,
    /// Nice value.
    pub nice: i32,
    /// As in `/proc/PID/oom_score_adj`.
    pub oom_score_adjust: i32,
    /// File-mode creation mask.
    pub umask: u32,
    /// Working directory.
    pub cwd: String,
    /// Whether it leads a session on the console.
    pub console: bool,
}

/// Environment of every program; a step adds its own.
pub fn base_env() -> BTreeMap<String, String> {
    [
        ("ANDROID_DATA", "/data"),
        ("ANDROID_ROOT", "/system"),
        ("HOME", "/"),
        ("PATH", "/system/bin:/system/xbin:/vendor/bin"),
        ("SHELL", "/system/bin/sh"),
        ("TMPDIR", "/data/local/tmp"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// Starts a program in a fresh cgroup and process group, with its output in pipes.
pub fn spawn(spec: &Spec, argv: &[String], env: &BTreeMap<String, String>) -> Result<Child> {
    let cgroup = cgroup_dir(&spec.cgroup);
    match fs::create_dir(&cgroup) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("creating {cgroup}"));
        }
        _ => {}
    }
    let mut command = Command::new(INIT);
    command
        .arg("--exec")
        .arg(serde_json::to_string(spec)?)
        .arg("--")
        .args(argv)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null());
    if spec.console {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    } else {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    }
    let _no_reaping = reaper::pause();
    command.spawn().with_context(|| format!("starting {}", argv[0]))
}

/// Kills everything in a cgroup.
pub fn kill_cgroup(name: &str) -> Result<()> {
    kernel_file::write(&format!("{}/cgroup.kill", cgroup_dir(name)), "1")
}

/// Whether a process is left in a cgroup.
pub fn cgroup_is_populated(name: &str) -> Result<bool> {
    let file = format!("{}/cgroup.events", cgroup_dir(name));
    let events = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    Ok(events.lines().any(|line| line == "populated 1"))
}

/// Removes an empty cgroup.
pub fn remove_cgroup(name: &str) -> Result<()> {
    let dir = cgroup_dir(name);
    fs::remove_dir(&dir).with_context(|| format!("removing {dir}"))
}

fn cgroup_dir(name: &str) -> String {
    format!("{CGROUP_ROOT}/{name}")
}

/// In the new process: becomes what `spec` says and executes the program; returns only on failure.
pub fn become_program(spec: &str, program: &str, args: &[&str]) -> Error {
    match serde_json::from_str(spec).map_err(Error::from).and_then(|spec| prepare(&spec)) {
        Ok(()) => Command::new(program).args(args).exec().into(),
        Err(error) => error,
    }
}

fn prepare(spec: &Spec) -> Result<()> {
    kernel_file::write(&format!("{}/cgroup.procs", cgroup_dir(&spec.cgroup)), "0")?;
    if spec.console {
        take_console()?;
    }
    // Inherited from init, which blocks SIGCHLD.
    SigSet::empty().thread_set_mask().context("unblocking signals")?;
    rustix::process::setpriority_process(None, spec.nice).context("setting the nice value")?;
    kernel_file::write("/proc/self/oom_score_adj", &spec.oom_score_adjust.to_string())?;
    rustix::process::umask(Mode::from(spec.umask));
    std::env::set_current_dir(&spec.cwd).with_context(|| format!("entering {}", spec.cwd))?;
    // Asked for while still privileged; the answer is stored with the credentials.
    if let Some(context) = &spec.context {
        selinux::set_exec_context(context)?;
    }
    let keep = spec.capabilities.as_ref().map(|numbers| {
        numbers.iter().fold(CapabilitySet::empty(), |set, number| set | capability(*number))
    });
    if let Some(keep) = keep {
        for other in (0..=LAST_CAPABILITY).map(capability).filter(|c| !keep.contains(*c)) {
            rustix::thread::remove_capability_from_bounding_set(other)
                .context("limiting the capability bounding set")?;
        }
        rustix::thread::set_keep_capabilities(true).context("keeping capabilities")?;
    }
    let groups: Vec<Gid> = spec.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    setgroups(&groups).context("setting the groups")?;
    let gid = Gid::from_raw(spec.gid);
    setresgid(gid, gid, gid).with_context(|| format!("becoming group {gid}"))?;
    let uid = Uid::from_raw(spec.uid);
    setresuid(uid, uid, uid).with_context(|| format!("becoming user {uid}"))?;
    if let Some(keep) = keep {
        let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: keep };
        rustix::thread::set_capabilities(None, sets).context("setting capabilities")?;
        for kept in keep.iter() {
            rustix::thread::configure_capability_in_ambient_set(kept, true)
                .context("raising an ambient capability")?;
        }
    }
    Ok(())
}

fn capability(number: u32) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << number)
}

/// Starts a session with the console as its controlling terminal and standard streams.
fn take_console() -> Result<()> {
    nix::unistd::setsid().context("setsid")?;
    let path = console_path()?;
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NOCTTY)
        .open(&path)
        .with_context(|| format!("opening {path}"))?;
    rustix::process::ioctl_tiocsctty(&console)
        .with_context(|| format!("making {path} the controlling terminal"))?;
    rustix::stdio::dup2_stdin(&console)?;
    rustix::stdio::dup2_stdout(&console)?;
    rustix::stdio::dup2_stderr(&console)?;
    Ok(())
}

/// The terminal behind /dev/console, which itself cannot control a session.
fn console_path() -> Result<String> {
    let cmdline = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
    if let Some(name) = mounts::cmdline_value(&cmdline, "androidboot.console") {
        return Ok(format!("/dev/{name}"));
    }
    let active = fs::read_to_string("/sys/class/tty/console/active")
        .context("finding the console's terminal")?;
    let name = active.split_whitespace().last().context("the kernel has no console")?;
    Ok(format!("/dev/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_bits() {
        assert_eq!(capability(0), CapabilitySet::CHOWN);
        assert_eq!(capability(23), CapabilitySet::SYS_NICE);
        assert_eq!(capability(LAST_CAPABILITY), CapabilitySet::CHECKPOINT_RESTORE);
    }
}
