// SPDX-License-Identifier: Apache-2.0
//! Measures on a device: boots it in one of two modes, and hands over the output of its steps line
//! by line.

use std::time::Duration;

use anyhow::{bail, Result};
use clap::ValueEnum;
use vts_init::report::{Event, Stream};
use vts_init::step::Step;

use crate::device::{Device, Run, Setup};
use crate::event_text;
use crate::flavour::Flavour;
use crate::host_memory::Size;
use crate::kernel_reports::Reports;
use crate::memory_settings::MemorySettings;
use crate::paced_disk::Rate;
use crate::progress::Phase;
use crate::qemu::Execution;

/// What can be measured on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Instructions: processor time in nanoseconds is the number of instructions executed, the same
    /// in every run, on one processor. Wall time means nothing.
    Cost,
    /// Time, on two processors. It depends on this machine and on what else runs on it.
    Speed,
}

impl Mode {
    fn execution(self) -> Execution {
        match self {
            Self::Cost => Execution::Counted,
            Self::Speed => Execution::Timed,
        }
    }

    /// Its name in commands and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Speed => "speed",
        }
    }

    /// The name of a run in this mode.
    pub fn run_name(self) -> &'static str {
        match self {
            Self::Cost => "bench-cost",
            Self::Speed => "bench-speed",
        }
    }
}

impl From<Mode> for vts_bench_report::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Cost => Self::Cost,
            Mode::Speed => Self::Speed,
        }
    }
}

/// A device to measure on.
#[derive(Debug, Clone)]
pub struct Measurement<'a> {
    /// Which kernel it has.
    pub flavour: Flavour,
    /// What is measured.
    pub mode: Mode,
    /// Memory, and disk for /data; the disk is in this machine's memory if there is room.
    pub size: Size,
    /// How fast /data can be read; `None` does not limit it.
    pub data_read_rate: Option<Rate>,
    /// Settings made before the first step.
    pub memory: MemorySettings,
    /// Programs of the device's build to put into [`PUSH_DIR`](vts_init::step::PUSH_DIR).
    pub programs: &'a [&'a str],
    /// What to run, in order. Their time limits count on the device's clock, which differs from
    /// this machine's while instructions are counted.
    pub steps: &'a [Step],
    /// How long the run may take by this machine's clock.
    pub time_limit: Duration,
}

/// How many lines of a failed step's standard error an error quotes.
const QUOTED_LINES: usize = 40;

impl Measurement<'_> {
    /// Boots the device and runs the steps; gives each line of their standard output to `line`,
    /// with the name of the step. Runs all steps, and fails if one of them did.
    pub fn run(&self, device: &Device, phase: &Phase, line: impl FnMut(&str, &str)) -> Result<()> {
        let setup = Setup {
            flavour: self.flavour,
            execution: self.mode.execution(),
            size: self.size,
            data_read_rate: self.data_read_rate,
        };
        let mut steps = vec![self.memory.step()];
        steps.extend_from_slice(self.steps);
        let run = device.new_run(
            self.mode.run_name(),
            &setup,
            &device.programs(self.programs)?,
            &steps,
        )?;
        if !run.data_disk_is_in_memory() {
            phase.print("note: /data is in a file: this machine has no memory for it");
        }
        let mut reader =
            Reader { phase, line, errors: Vec::new(), last_lines: vec![], done: false };
        run.follow(self.time_limit, |event| reader.event(event))?;
        reader.finish(&run)
    }
}

/// Reads the report.
struct Reader<'a, F> {
    phase: &'a Phase,
    line: F,
    /// What went wrong.
    errors: Vec<String>,
    /// Standard error of the step that runs.
    last_lines: Vec<String>,
    done: bool,
}

impl<F: FnMut(&str, &str)> Reader<'_, F> {
    /// Takes an event; returns it as text for the log.
    fn event(&mut self, event: &str) -> String {
        match Event::from_line(event) {
            Ok(Event::Line { step, stream: Stream::Stdout, line }) => {
                (self.line)(&step, &line);
                line
            }
            Ok(event) => {
                self.other(&event);
                event_text::describe(&event)
            }
            Err(error) => {
                self.errors.push(format!("a line of the report is broken: {error}"));
                event.to_owned()
            }
        }
    }

    fn other(&mut self, event: &Event) {
        match event {
            Event::Start { step } => {
                self.phase.detail(step);
                self.last_lines.clear();
            }
            Event::Line { line, .. } => {
                self.phase.detail(line);
                self.last_lines.push(line.clone());
            }
            Event::Exit { step, code, signal, timed_out, denials, .. } => {
                if *timed_out {
                    self.errors.push(format!("step '{step}' ran out of time"));
                } else if *code != Some(0) {
                    let first = self.last_lines.len().saturating_sub(QUOTED_LINES);
                    self.errors.push(format!(
                        "step '{step}' {}\n{}",
                        event_text::ending(*code, *signal),
                        self.last_lines[first..].join("\n")
                    ));
                }
                if !denials.is_empty() {
                    self.errors.push(format!(
                        "during step '{step}' SELinux denied:\n{}",
                        denials.join("\n")
                    ));
                }
            }
            Event::ServiceExit { name, code, signal, .. } => {
                self.errors.push(format!("service {name} {}", event_text::ending(*code, *signal)))
            }
            Event::Fatal { message } => {
                self.errors.push(format!("the device gave up: {message}"));
            }
            Event::Done => self.done = true,
            Event::Boot { .. } | Event::Service { .. } => {}
        }
    }

    fn finish(mut self, run: &Run<'_>) -> Result<()> {
        let kernel_log = run.kernel_log();
        self.errors.extend(Reports::of(&kernel_log).unknown);
        if !self.done {
            self.errors.push("the device stopped before its last step".to_owned());
        }
        if self.errors.is_empty() {
            return Ok(());
        }
        bail!("{}\n(log: {})", self.errors.join("\n"), run.log().display())
    }
}
