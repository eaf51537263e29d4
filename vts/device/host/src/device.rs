// SPDX-License-Identifier: Apache-2.0
//! The virtual device as a whole: build its parts, boot it, read its report.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vts_init::step::Step;

use crate::cache::Lock;
use crate::files;
use crate::flavour::Flavour;
use crate::guest::GuestPrograms;
use crate::host_memory::Size;
use crate::image::data::DataDisk;
use crate::image::{initramfs, push, system};
use crate::kernel::{Kernel, SELFTESTS};
use crate::kernel_reports::Reports;
use crate::paced_disk::{PacedDisk, Rate};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::qemu::{DataDrive, Execution, Machine};
use crate::report::Collector;
use crate::results::{Suite, Verdict};
use crate::steps::{MAKE_F2FS, TESTS};
use crate::workspace::Workspace;
use crate::{console, host_tool, policy, summary};

/// Lines of the console shown when the device stops by itself.
const CONSOLE_TAIL_LINES: usize = 40;

/// Memory and disk of a device at a prompt.
const SHELL_SIZE: Size = Size { memory_mib: 4 * 1024, data_disk_mib: 6 * 1024 };

/// A device that is built and can be booted, in one or more flavours.
#[derive(Debug)]
pub struct Device {
    workspace: Workspace,
    kernels: Vec<BootFiles>,
    system: PathBuf,
    programs: GuestPrograms,
    /// No two runs of a checkout may share images and logs.
    _lock: Lock,
}

/// The files that one flavour boots from.
#[derive(Debug)]
struct BootFiles {
    kernel: Kernel,
    initramfs: PathBuf,
}

impl Device {
    /// Builds everything except the disks of a single run.
    pub fn build(workspace: &Workspace, flavours: &[Flavour], progress: &Progress) -> Result<Self> {
        let dir = workspace.device_dir()?;
        let lock = Lock::take(&dir.join("lock"), || {
            progress.print("waiting for another run of this checkout");
        })?;
        let kernels = flavours
            .iter()
            .map(|flavour| Kernel::build(*flavour, workspace, progress))
            .collect::<Result<Vec<_>>>()?;
        let programs = GuestPrograms::build(workspace, progress)?;

        let _phase = progress.phase("make the device's images");
        let log = new_log(&dir)?;
        let policy = policy::compile(
            &workspace.source("vts/device/policy"),
            &workspace.source("sepolicy"),
            policy::Variant::Userdebug,
            &dir.join("policy"),
        )?;
        let system = system::build(workspace, &programs, &policy, &dir, &log)?;
        let kernels = kernels
            .into_iter()
            .map(|kernel| {
                let initramfs = dir.join(format!("initramfs.{}.cpio", kernel.flavour()));
                initramfs::write(programs.path("init")?, &kernel.modules()?, &initramfs)?;
                Ok(BootFiles { kernel, initramfs })
            })
            .collect::<Result<_>>()?;
        Ok(Self { workspace: workspace.clone(), kernels, system, programs, _lock: lock })
    }

    /// A kernel with which an accelerator can be tried.
    pub fn any_kernel(&self) -> Result<&Kernel> {
        self.kernels.first().map(|files| &files.kernel).context("the device has no flavour")
    }

    /// The results of checkpatch.pl, a test per kernel patch; `None` if no kernel is patched.
    pub fn patch_suite(&self) -> Result<Option<Suite>> {
        let mut suite = Suite::new("checkpatch");
        for files in &self.kernels {
            for report in files.kernel.patch_reports()? {
                let verdict =
                    if report.clean { Verdict::Passed } else { Verdict::Failed(report.text) };
                suite.add(report.patch, verdict);
            }
        }
        Ok(Some(suite).filter(|suite| !suite.tests.is_empty()))
    }

    /// Boots the device, runs the plan, and returns the results.
    pub fn run(
        &self,
        progress: &Progress,
        execution: Execution,
        plan: &Plan,
        filtered: bool,
    ) -> Result<Vec<Suite>> {
        let phase = progress.phase(format!("device {}, {}", plan.flavour, plan.name));
        let steps: Vec<Step> = plan.steps.iter().map(|planned| planned.step.clone()).collect();
        let setup =
            Setup { flavour: plan.flavour, execution, size: plan.size, data_read_rate: None };
        let mut programs = self.programs(&TESTS)?;
        if let Some(selftests) = self.boot_files(plan.flavour)?.kernel.selftests() {
            programs.extend(SELFTESTS.map(|test| (test.to_owned(), selftests.join(test))));
        }
        programs.extend(host_tool::pushed(MAKE_F2FS)?);
        let run = self.new_run(plan.name, &setup, &programs, &steps)?;

        let mut collector = Collector::new(plan, filtered);
        let mut printed = 0;
        let ended = run.follow(plan.time(), |line| {
            let text = collector.line(line);
            phase.detail(&collector.current());
            for suite in &collector.ended()[printed..] {
                phase.print(&summary::line(suite));
                printed += 1;
            }
            text
        });
        let kernel_log = run.kernel_log();
        let mut suites = collector.finish(|| console::tail(&kernel_log, CONSOLE_TAIL_LINES));
        if let Some(device) = suites.first_mut() {
            let reports = Reports::of(&kernel_log);
            for bug in &reports.known {
                phase.print(&format!("  known in the kernel's log: {}", bug.reason));
            }
            let verdict = match &reports.unknown[..] {
                [] => Verdict::Passed,
                unknown => Verdict::Failed(unknown.join("\n\n")),
            };
            device.add("no bug in the kernel's log", verdict);
            if let Err(error) = ended {
                device.problems.push(format!("{error:#}"));
            }
        }
        phase.print(&format!("  log: {}", run.log().display()));
        Ok(suites)
    }

    /// Boots the device to a prompt.
    pub fn shell(&self, flavour: Flavour, execution: Execution) -> Result<()> {
        let setup = Setup { flavour, execution, size: SHELL_SIZE, data_read_rate: None };
        self.new_run("shell", &setup, &self.programs(&TESTS)?, &[])?.shell()
    }

    /// Programs of the device's build, by name.
    pub fn programs(&self, names: &[&str]) -> Result<Vec<(String, PathBuf)>> {
        let named = |name: &&str| Ok(((*name).to_owned(), self.programs.path(name)?.to_owned()));
        names.iter().map(named).collect()
    }

    /// Makes the disks of a single run, and a directory for its logs, named after it.
    pub fn new_run(
        &self,
        name: &str,
        setup: &Setup,
        programs: &[(String, PathBuf)],
        steps: &[Step],
    ) -> Result<Run<'_>> {
        let dir = self.workspace.run_dir(setup.flavour, name)?;
        let log = new_log(&dir)?;
        let push = push::build(programs, steps, &dir, &log)?;
        let data = DataDisk::create(setup.size, &dir, &log)?;
        let files = self.boot_files(setup.flavour)?;
        let machine = Machine {
            execution: setup.execution,
            memory_mib: setup.size.memory_mib,
            kernel: &files.kernel,
            initramfs: &files.initramfs,
            system: &self.system,
            data: match setup.data_read_rate {
                Some(_) => DataDrive::Nbd(data_socket(&dir)),
                None => DataDrive::File(data.path()),
            },
            push,
        };
        Ok(Run { dir, machine, data, data_read_rate: setup.data_read_rate })
    }

    fn boot_files(&self, flavour: Flavour) -> Result<&BootFiles> {
        let found = self.kernels.iter().find(|files| files.kernel.flavour() == flavour);
        found.with_context(|| format!("the device was not built in flavour '{flavour}'"))
    }
}

/// How a device is booted.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which kernel it has.
    pub flavour: Flavour,
    /// How its instructions are executed.
    pub execution: Execution,
    /// Memory, and disk for /data.
    pub size: Size,
    /// How fast /data can be read; `None` does not limit it.
    pub data_read_rate: Option<Rate>,
}

/// A device with the disks of a single run.
#[derive(Debug)]
pub struct Run<'a> {
    dir: PathBuf,
    machine: Machine<'a>,
    data: DataDisk,
    data_read_rate: Option<Rate>,
}

impl Run<'_> {
    /// The log for people.
    pub fn log(&self) -> PathBuf {
        self.dir.join("vts.log")
    }

    /// What the kernel printed.
    pub fn kernel_log(&self) -> String {
        console::read(&self.console())
    }

    /// Whether the disk for /data is in this machine's memory.
    pub fn data_disk_is_in_memory(&self) -> bool {
        self.data.is_in_memory()
    }

    fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// Boots the device and runs its steps; gives each line of the report to `line`, and logs the
    /// text that it returns.
    pub fn follow(&self, time: Duration, mut line: impl FnMut(&str) -> String) -> Result<()> {
        let mut report = files::create(&self.dir.join("report.jsonl"))?;
        let mut log = files::create(&self.log())?;
        writeln!(
            log,
            "machine: {:?}, {} MiB, disk for /data in {}{}",
            self.machine.execution,
            self.machine.memory_mib,
            if self.data_disk_is_in_memory() { "memory" } else { "a file" },
            self.data_read_rate.map(|rate| format!(", read at {rate}")).unwrap_or_default()
        )?;
        let paced_disk = self
            .data_read_rate
            .map(|rate| PacedDisk::start(self.data.file(), rate, &data_socket(&self.dir)))
            .transpose()?;
        let messages = self.dir.join("qemu.log");
        let mut logged = Ok(());
        let started = Instant::now();
        let ended = self.machine.run_plan(&self.console(), &messages, time, |event| {
            let text = line(event);
            let at = started.elapsed().as_secs_f64();
            logged = std::mem::replace(&mut logged, Ok(())).and_then(|()| {
                writeln!(report, "{event}")?;
                writeln!(log, "{at:7.2} {text}")
            });
        });
        let served = paced_disk.map_or(Ok(()), PacedDisk::finish).context("disk for /data");
        if let Err(error) = &served {
            logged = logged.and_then(|()| writeln!(log, "{error:#}"));
        }
        logged.with_context(|| format!("cannot write to {}", self.dir.display()))?;
        // The server's error comes first: it is why the device failed.
        served.and(ended.with_context(|| console::read(&messages).trim().to_owned()))
    }

    /// Boots the device to a prompt.
    fn shell(&self) -> Result<()> {
        self.machine.run_shell()
    }
}

/// Where a server of the disk for /data listens.
fn data_socket(dir: &Path) -> PathBuf {
    dir.join("data.sock")
}

/// Starts a log of what the host's tools print.
fn new_log(dir: &Path) -> Result<PathBuf> {
    let log = dir.join("build.log");
    files::create(&log)?;
    Ok(log)
}
