// SPDX-License-Identifier: Apache-2.0
//! The virtual device as a whole: build its parts, boot it, read its report.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use vts_init::plan::Step;

use crate::cache::Lock;
use crate::guest::GuestPrograms;
use crate::image::data::DataDisk;
use crate::image::{initramfs, push, system};
use crate::kernel::Kernel;
use crate::progress::Progress;
use crate::qemu::{Accelerator, Machine};
use crate::report::Collector;
use crate::results::{Suite, Verdict};
use crate::steps;
use crate::workspace::{Workspace, FLAVOUR};
use crate::{console, policy, summary};

/// Lines of the console shown when the device stops by itself.
const CONSOLE_TAIL_LINES: usize = 40;

/// A device that is built and can be booted.
#[derive(Debug)]
pub struct Device {
    dir: PathBuf,
    kernel: Kernel,
    initramfs: PathBuf,
    system: PathBuf,
    programs: GuestPrograms,
    /// Images and logs are one run's alone.
    _lock: Lock,
}

impl Device {
    /// Builds everything but the disks of a single run.
    pub fn build(workspace: &Workspace, progress: &Progress) -> Result<Self> {
        let dir = workspace.device_dir()?;
        let lock = Lock::take(&dir.join("lock"), || {
            progress.print("waiting for another run of this checkout");
        })?;
        let kernel = Kernel::build(workspace, progress)?;
        let programs = GuestPrograms::build(workspace, progress)?;

        let _phase = progress.phase("make the device's images");
        let log = dir.join("build.log");
        File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let policy = policy::compile(
            &workspace.source("vts/device/policy"),
            &workspace.source("sepolicy"),
            policy::Variant::Userdebug,
            &dir.join("policy"),
        )?;
        let system = system::build(workspace, &programs, &policy, &dir, &log)?;
        let initramfs = dir.join("initramfs.cpio");
        initramfs::write(programs.path("init")?, &initramfs)?;
        Ok(Self { dir, kernel, initramfs, system, programs, _lock: lock })
    }

    /// What checkpatch.pl said about the kernel patches.
    pub fn patch_suite(&self) -> Result<Suite> {
        let mut suite = Suite::new("checkpatch");
        for report in self.kernel.patch_reports()? {
            let verdict = if report.clean { Verdict::Passed } else { Verdict::Failed(report.text) };
            suite.add(report.patch, verdict);
        }
        Ok(suite)
    }

    /// Boots the device and runs the tests on it whose name contains the filter.
    pub fn run(
        &self,
        progress: &Progress,
        accelerator: Option<Accelerator>,
        filter: Option<&str>,
    ) -> Result<Vec<Suite>> {
        let phase = progress.phase(format!("device '{FLAVOUR}'"));
        let plan = steps::plan(filter);
        let [console, report, text, messages] =
            ["console.log", "report.jsonl", "vts.log", "qemu.log"].map(|name| self.dir.join(name));
        let create = |path: &PathBuf| {
            File::create(path).with_context(|| format!("cannot create {}", path.display()))
        };
        let (mut report_file, mut text_file) = (create(&report)?, create(&text)?);
        let log = self.dir.join("build.log");
        let steps: Vec<Step> = plan.iter().map(|planned| planned.step.clone()).collect();
        let push = push::build(&self.kernel, &self.programs, &steps, &self.dir, &log)?;
        let data = DataDisk::create(&self.dir, &log)?;
        let machine = self.machine(accelerator, &data, &push);
        writeln!(
            text_file,
            "machine: {:?}, disk for /data in {}",
            machine.accelerator,
            data.place()
        )?;

        let mut collector = Collector::new(&plan, filter.is_some());
        let mut logged = Ok(());
        let mut printed = 0;
        let ended = machine.run_plan(&console, &messages, steps::time(&plan), |line| {
            let text = collector.line(line);
            phase.detail(&collector.current());
            for suite in &collector.ended()[printed..] {
                phase.print(&summary::line(suite));
                printed += 1;
            }
            logged = std::mem::replace(&mut logged, Ok(())).and_then(|()| {
                writeln!(report_file, "{line}")?;
                writeln!(text_file, "{text}")
            });
        });
        logged.with_context(|| format!("cannot write to {}", self.dir.display()))?;
        let kernel_log = console::read(&console);
        let mut suites = collector.finish(|| console::tail(&kernel_log, CONSOLE_TAIL_LINES));
        if let Some(device) = suites.first_mut() {
            let complaint = console::complaint(&kernel_log);
            let verdict = complaint.map_or(Verdict::Passed, Verdict::Failed);
            device.add("no bug in the kernel's log", verdict);
            if let Err(error) = ended {
                device.problems.push(format!("{error:#}\n{}", console::read(&messages).trim()));
            }
        }
        phase.print(&format!("the device's log is {}", text.display()));
        Ok(suites)
    }

    /// Boots the device to a prompt.
    pub fn shell(&self, accelerator: Option<Accelerator>) -> Result<()> {
        let log = self.dir.join("build.log");
        let push = push::build(&self.kernel, &self.programs, &[], &self.dir, &log)?;
        let data = DataDisk::create(&self.dir, &log)?;
        self.machine(accelerator, &data, &push).run_shell()
    }

    fn machine<'a>(
        &'a self,
        accelerator: Option<Accelerator>,
        data: &DataDisk,
        push: &'a PathBuf,
    ) -> Machine<'a> {
        Machine {
            accelerator: accelerator.unwrap_or_else(|| Accelerator::best(&self.kernel)),
            kernel: &self.kernel,
            initramfs: &self.initramfs,
            system: &self.system,
            data: data.path(),
            push,
        }
    }
}
