// SPDX-License-Identifier: Apache-2.0
//! Second stage: configuration, boot stages, then the plan or a shell.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};

use rustix::fs::Mode;
use rustix::mount::UnmountFlags;
use rustix::process::{Resource, Rlimit};
use vts_init::file_contexts::FileContexts;
use vts_init::ids::Ids;
use vts_init::plan::SHELL_FLAG;
use vts_init::rc::{self, Command, Config, BOOT_PROPERTY, TRIGGERS};
use vts_init::report::Event;

use crate::supervisor::Supervisor;
use crate::{
    devices, kernel_file, kernel_log, label, log, message, mounts, port, power, push, reaper,
    run_steps, selinux,
};

const RC_DIRS: [&str; 2] = ["/system/etc/init", "/vendor/etc/init"];
const PASSWD: &str = "/vendor/etc/passwd";
const GROUP: &str = "/vendor/etc/group";
const CONSOLE_SERVICE: &str = "console";
const PROPERTY_LIMIT: Duration = Duration::from_secs(30);

/// Runs the second stage; returns when the plan is done or the shell has exited.
pub fn run() -> Result<()> {
    rustix::process::umask(Mode::empty());
    log::detach_streams()?;
    let context = selinux::context_of_process(1)?;
    ensure!(context == selinux::INIT_CONTEXT, "init runs as {context}");
    ensure!(selinux::enforcing()?, "SELinux does not enforce");
    log::info(&format!("second stage, {context}"));

    let (sender, messages) = message::queue();
    reaper::start(sender.clone())?;
    kernel_log::start(sender.clone())?;

    let ids = load_ids()?;
    let contexts = label::load()?;
    let config = load_config(&ids)?;
    devices::cold_boot(&devices::load_rules(&ids)?, &contexts)?;
    let port_open = port::open()?;

    let mut supervisor = Supervisor::new(&config.services, messages, sender);
    let cmdline = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
    let mut device = Device {
        contexts: &contexts,
        config: &config,
        cmdline: &cmdline,
        supervisor: &mut supervisor,
    };
    let (before_boot, boot) = TRIGGERS.split_at(TRIGGERS.len() - 1);
    before_boot.iter().try_for_each(|trigger| device.trigger(trigger))?;
    let steps = push::load(&contexts)?;
    boot.iter().try_for_each(|trigger| device.trigger(trigger))?;

    let denials = supervisor.take_denials()?;
    port::send(&Event::Boot {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        enforcing: selinux::enforcing()?,
        context,
        uptime_ms: uptime_ms()?,
        denials,
    })?;
    let shell = cmdline.split_whitespace().any(|word| word == SHELL_FLAG);
    match steps {
        Some(steps) if !shell => {
            ensure!(port_open, "there is a plan, but no virtio-serial port for the report");
            run_steps::run(&mut supervisor, &steps)?;
        }
        _ => run_shell(&mut supervisor)?,
    }
    supervisor.stop_all()?;
    rustix::mount::unmount("/data", UnmountFlags::empty()).context("unmounting /data")?;
    port::send(&Event::Done)?;
    log::info("done, powering off");
    power::off()
}

fn load_ids() -> Result<Ids> {
    let mut ids = Ids::default();
    ids.add_passwd(&fs::read_to_string(PASSWD).with_context(|| format!("reading {PASSWD}"))?);
    ids.add_group(&fs::read_to_string(GROUP).with_context(|| format!("reading {GROUP}"))?);
    Ok(ids)
}

fn load_config(ids: &Ids) -> Result<Config> {
    let mut config = Config::default();
    let mut errors = Vec::new();
    for dir in RC_DIRS {
        let mut files: Vec<_> = fs::read_dir(dir)
            .with_context(|| format!("listing {dir}"))?
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "rc"))
            .collect();
        files.sort();
        for path in files {
            let name = path.display().to_string();
            let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
            errors.extend(config.add(&name, &text, ids).err().into_iter().flatten());
        }
    }
    for error in &errors {
        log::error(&error.to_string());
    }
    match errors.first() {
        Some(first) => bail!("{} errors in .rc files, the first: {first}", errors.len()),
        None => Ok(config),
    }
}

fn uptime_ms() -> Result<u64> {
    let uptime = fs::read_to_string("/proc/uptime").context("reading /proc/uptime")?;
    let seconds: f64 = uptime.split(' ').next().unwrap_or_default().parse()?;
    Ok((seconds * 1000.0) as u64)
}

fn run_shell(supervisor: &mut Supervisor) -> Result<()> {
    // Only what is urgent may disturb the prompt.
    kernel_file::write("/proc/sys/kernel/printk", "2")?;
    supervisor.start(CONSOLE_SERVICE)?;
    while supervisor.is_running(CONSOLE_SERVICE) {
        supervisor.pump(Instant::now() + Duration::from_millis(50))?;
    }
    Ok(())
}

/// What the commands of the .rc files act on.
struct Device<'a> {
    contexts: &'a FileContexts,
    config: &'a Config,
    cmdline: &'a str,
    supervisor: &'a mut Supervisor,
}

impl Device<'_> {
    /// Runs the commands of a boot stage; any failure ends the boot.
    fn trigger(&mut self, trigger: &str) -> Result<()> {
        log::info(&format!("boot stage '{trigger}'"));
        for located in self.config.commands(trigger, |name| boot_property(self.cmdline, name)) {
            self.command(&located.command).with_context(|| located.place.clone())?;
        }
        Ok(())
    }

    fn command(&mut self, command: &Command) -> Result<()> {
        match command {
            Command::Mkdir(path, ownership) => label::make_dir(self.contexts, path, *ownership),
            Command::Chown(path, ownership) => label::set_ownership(path, *ownership),
            Command::Write(path, text) => kernel_file::write(path, text),
            Command::Symlink(target, path) => make_symlink(target, path),
            Command::Mount { fs_type, device, dir, options } => {
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                mounts::mount(fs_type, device, dir, &options)
            }
            Command::Restorecon { paths, recursive } => paths
                .iter()
                .try_for_each(|path| label::restorecon(self.contexts, Path::new(path), *recursive)),
            Command::SetRlimit(resource, current, maximum) => {
                let resource = match resource {
                    rc::Resource::Memlock => Resource::Memlock,
                    rc::Resource::Nice => Resource::Nice,
                    rc::Resource::Nofile => Resource::Nofile,
                };
                let limit = Rlimit { current: Some(*current), maximum: Some(*maximum) };
                rustix::process::setrlimit(resource, limit).context("setrlimit")
            }
            Command::Start(service) => self.supervisor.start(service),
            Command::ClassStart(class) => self.supervisor.class_start(class),
            Command::WaitForProp(name, value) => {
                self.supervisor.wait_for_property(name, value, PROPERTY_LIMIT)
            }
        }
    }
}

/// As on Android, `ro.boot.NAME` is what the kernel command line gives as `androidboot.NAME`.
fn boot_property(cmdline: &str, name: &str) -> Option<String> {
    let name = name.strip_prefix(BOOT_PROPERTY)?;
    mounts::cmdline_value(cmdline, &format!("androidboot.{name}"))
}

fn make_symlink(target: &str, path: &str) -> Result<()> {
    match symlink(target, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("linking {path} to {target}"))
        }
        _ => Ok(()),
    }
}
