// SPDX-License-Identifier: Apache-2.0
//! `cargo vts`: runs every test of the project; builds, boots and tears down the virtual device.
//!
//! # Threading and lifetime
//! The host's tests and up to two devices run at the same time, on a thread each; a device has
//! another thread for the output of QEMU, and two for a [paced disk](paced_disk). Programs that
//! this one starts are killed when it ends. What is built stays in the [cache] and in `target/`.

mod backports;
mod bench;
mod cache;
mod command;
mod console;
mod device;
mod event_text;
mod files;
mod flavour;
mod guest;
mod host_memory;
mod host_tests;
mod host_tool;
mod image;
mod kernel;
mod kernel_reports;
mod libtest;
mod measure;
mod memory_settings;
mod paced_disk;
mod packages;
mod plan;
mod policy;
mod progress;
mod qemu;
mod report;
mod results;
mod schedule;
#[cfg(test)]
mod service_files;
mod step_result;
mod steps;
mod summary;
mod tap;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::device::Device;
use crate::flavour::Flavour;
use crate::progress::Progress;
use crate::qemu::{Accelerator, Execution};
use crate::results::{Suite, Totals};
use crate::schedule::Job;
use crate::workspace::Workspace;

/// Runs every test of the project, on this host and on a virtual device.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo vts", version)]
struct Arguments {
    /// What to do; without it, all tests are run.
    #[command(subcommand)]
    task: Option<Task>,

    /// Run only tests whose name contains this.
    #[arg(long, global = true, value_name = "SUBSTR")]
    filter: Option<String>,

    /// Only on the device of this flavour; by default on `patched` and `stock`, and the shell on
    /// `patched`.
    #[arg(long, global = true)]
    flavour: Option<Flavour>,

    /// Who executes the device's instructions; by default KVM if a kernel boots with it.
    #[arg(long, global = true)]
    accelerator: Option<Accelerator>,
}

impl Arguments {
    fn flavours(&self) -> Vec<Flavour> {
        self.flavour.map_or(Flavour::DEFAULT.to_vec(), |flavour| vec![flavour])
    }

    fn execution(&self, device: &Device) -> Result<Execution> {
        let accelerator = match self.accelerator {
            Some(accelerator) => accelerator,
            None => Accelerator::best(device.any_kernel()?),
        };
        Ok(Execution::Free(accelerator))
    }
}

#[derive(Debug, Clone, Subcommand)]
enum Task {
    /// Run the tests that need no device.
    Host,
    /// Run the tests on the virtual device.
    Device,
    /// Build the virtual device.
    Build,
    /// Boot the virtual device to a prompt; it powers off at `exit`.
    Shell,
    /// Measure what loads and saves cost on the virtual device.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything that ran passed.
fn run(arguments: &Arguments) -> Result<bool> {
    let workspace = Workspace::locate()?;
    let progress = Progress::new();
    packages::ensure(&progress)?;
    let mut suites = Vec::new();
    match &arguments.task {
        Some(Task::Build) => {
            Device::build(&workspace, &arguments.flavours(), &progress)?;
            return Ok(true);
        }
        Some(Task::Shell) => {
            let flavour = arguments.flavour.unwrap_or(Flavour::Patched);
            let device = Device::build(&workspace, &[flavour], &progress)?;
            let execution = arguments.execution(&device)?;
            progress.print("the device powers off at `exit`; Ctrl-A X turns it off at once");
            device.shell(flavour, execution)?;
            return Ok(true);
        }
        Some(Task::Bench(options)) => {
            return bench::run(&workspace, &arguments.flavours(), options, &progress);
        }
        Some(Task::Host) => suites.extend(host(&workspace, &progress, arguments)),
        Some(Task::Device) => suites.extend(device(&workspace, &progress, arguments)),
        // Both leave processors idle at times.
        None => std::thread::scope(|scope| {
            let host = scope.spawn(|| host(&workspace, &progress, arguments));
            let device = device(&workspace, &progress, arguments);
            suites.extend(host.join().unwrap_or_else(|_| vec![panicked("host")]));
            suites.extend(device);
        }),
    }
    println!("{}", summary::summary(&suites));
    Ok(Totals::of(&suites).is_success())
}

fn host(workspace: &Workspace, progress: &Progress, arguments: &Arguments) -> Vec<Suite> {
    host_tests::run(workspace, progress, arguments.filter.as_deref())
        .unwrap_or_else(|error| vec![broken("host", &error)])
}

fn device(workspace: &Workspace, progress: &Progress, arguments: &Arguments) -> Vec<Suite> {
    let run = || {
        let flavours = arguments.flavours();
        let filter = arguments.filter.as_deref();
        let device = Device::build(workspace, &flavours, progress)?;
        let execution = arguments.execution(&device)?;
        let mut suites: Vec<Suite> = device.patch_suite()?.into_iter().collect();
        let plans = plan::plans(&flavours, filter);
        let mut jobs: Vec<Job<'_>> = Vec::new();
        // First: a long job that starts last would run alone at the end.
        if filter.is_none() {
            for &flavour in flavours.iter().filter(|one| Flavour::DEFAULT.contains(one)) {
                let device = &device;
                jobs.push(Job::new(bench::GATE_SIZE, move || {
                    let suite = bench::gate(workspace, device, flavour, progress)
                        .unwrap_or_else(|error| broken(&format!("{flavour}: cost"), &error));
                    vec![suite]
                }));
            }
        }
        for plan in &plans {
            let device = &device;
            jobs.push(Job::new(plan.size, move || {
                device.run(progress, execution, plan, filter.is_some()).unwrap_or_else(|error| {
                    vec![broken(&format!("{}: device ({})", plan.flavour, plan.name), &error)]
                })
            }));
        }
        suites.extend(schedule::run_all(&jobs)?);
        Ok(suites)
    };
    run().unwrap_or_else(|error| vec![broken("device", &error)])
}

fn panicked(name: &str) -> Suite {
    broken(name, &anyhow::anyhow!("its thread has panicked"))
}

/// The failure of something that could not be run.
fn broken(name: &str, error: &anyhow::Error) -> Suite {
    let mut suite = Suite::new(name);
    suite.problems.push(format!("{error:#}"));
    suite
}
