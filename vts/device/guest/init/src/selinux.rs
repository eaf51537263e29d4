// SPDX-License-Identifier: Apache-2.0
//! SELinux as init needs it: policy load, contexts of processes and files, computed transitions.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use rustix::fs::XattrFlags;

use crate::kernel_file;

/// Where selinuxfs is mounted.
pub const SELINUXFS: &str = "/sys/fs/selinux";

/// Context of init itself from the second stage on.
pub const INIT_CONTEXT: &str = "u:r:init:s0";

const POLICY: &str = "/vendor/etc/selinux/precompiled_sepolicy";
const XATTR: &str = "security.selinux";

/// Loads the compiled policy of the vendor image.
pub fn load_policy() -> Result<()> {
    let policy = fs::read(POLICY).with_context(|| format!("reading {POLICY}"))?;
    let path = format!("{SELINUXFS}/load");
    let mut load =
        OpenOptions::new().write(true).open(&path).with_context(|| format!("opening {path}"))?;
    // The kernel takes a policy in one write only.
    let taken = load.write(&policy).with_context(|| format!("loading {POLICY}"))?;
    ensure!(taken == policy.len(), "the kernel took {taken} of {} policy bytes", policy.len());
    Ok(())
}

/// Turns enforcement on, and makes sure of it.
pub fn enforce() -> Result<()> {
    kernel_file::write(&format!("{SELINUXFS}/enforce"), "1")?;
    ensure!(enforcing()?, "SELinux does not enforce");
    Ok(())
}

/// Whether SELinux enforces.
pub fn enforcing() -> Result<bool> {
    let state = fs::read_to_string(format!("{SELINUXFS}/enforce")).context("reading enforce")?;
    Ok(state.trim() == "1")
}

/// Context of a process.
pub fn context_of_process(pid: u32) -> Result<String> {
    let context = fs::read_to_string(format!("/proc/{pid}/attr/current"))
        .with_context(|| format!("reading the context of process {pid}"))?;
    Ok(clean(&context))
}

/// Context of a file, None if it carries none; a symlink is not followed.
pub fn context_of_file(path: &Path) -> Result<Option<String>> {
    let mut value = Vec::with_capacity(256);
    match rustix::fs::lgetxattr(path, XATTR, rustix::buffer::spare_capacity(&mut value)) {
        Ok(_) => Ok(Some(clean(&String::from_utf8_lossy(&value)))),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("reading the label of {}", path.display()))
        }
    }
}

/// Gives a file a context; a symlink is not followed.
pub fn set_context_of_file(path: &Path, context: &str) -> Result<()> {
    let value = format!("{context}\0");
    rustix::fs::lsetxattr(path, XATTR, value.as_bytes(), XattrFlags::empty())
        .with_context(|| format!("labelling {} as {context}", path.display()))
}

/// Runs `create` with `context` as the label of every file this thread makes.
pub fn creating_as<T>(context: Option<&str>, create: impl FnOnce() -> T) -> Result<T> {
    const FSCREATE: &str = "/proc/thread-self/attr/fscreate";
    let Some(context) = context else { return Ok(create()) };
    kernel_file::write(FSCREATE, context)?;
    let made = create();
    kernel_file::write(FSCREATE, "\n")?;
    Ok(made)
}

/// Asks for `context` at this process's next exec.
pub fn set_exec_context(context: &str) -> Result<()> {
    kernel_file::write("/proc/self/attr/exec", context)
}

/// The context a process of init gets when it executes a file labelled `file`.
pub fn transition(file: &str) -> Result<String> {
    let class = fs::read_to_string(format!("{SELINUXFS}/class/process/index"))
        .context("reading the index of class process")?;
    let path = format!("{SELINUXFS}/create");
    let mut create = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {path}"))?;
    create
        .write_all(format!("{INIT_CONTEXT} {file} {}", class.trim()).as_bytes())
        .with_context(|| format!("asking for the transition on {file}"))?;
    let mut answer = String::new();
    create.read_to_string(&mut answer).context("reading the computed context")?;
    Ok(clean(&answer))
}

/// The context a program started by init without a `seclabel` will have; as on Android it is an
/// error if that is init's own.
pub fn context_of_program(program: &str) -> Result<String> {
    let Some(file) = context_of_file(Path::new(program))? else {
        bail!("{program} has no label");
    };
    let context = transition(&file)?;
    ensure!(
        context != INIT_CONTEXT,
        "{program} (labelled {file}) has no domain transition from {INIT_CONTEXT}"
    );
    Ok(context)
}

fn clean(context: &str) -> String {
    context.trim_end_matches(['\0', '\n']).to_owned()
}
