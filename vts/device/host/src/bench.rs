// SPDX-License-Identifier: Apache-2.0
//! `cargo vts bench`: runs the benchmark on the device, prints its tables, and compares the results
//! with the bounds.
//!
//! `cargo vts` runs a reduced benchmark, of what the bounds of the gate need.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use vts_bench_report::bounds::{self, Bounds, Checked};
use vts_bench_report::results::Results;
use vts_bench_report::saved::{self, Saved};
use vts_init::step::{Step, SHELL_PATH};

use crate::device::Device;
use crate::flavour::Flavour;
use crate::host_memory::Size;
use crate::measure::{Measurement, Mode};
use crate::memory_settings::MemorySettings;
use crate::paced_disk::Rate;
use crate::progress::Progress;
use crate::results::{Suite, Verdict};
use crate::workspace::Workspace;

/// Options of `cargo vts bench`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Count instructions; without --speed and --cost, both are measured.
    #[arg(long)]
    cost: bool,

    /// Measure time.
    #[arg(long)]
    speed: bool,

    /// The rate at which the disk for /data is read while time is measured: by default 250, in
    /// proportion to the emulated processors. Writes are not slowed down. Only with --speed alone:
    /// the number of instructions does not depend on the disk's rate.
    #[arg(long, value_name = "MIB", requires = "speed", conflicts_with = "cost")]
    throttle_mib_per_s: Option<NonZeroU32>,

    /// Read /data as fast as this machine's memory gives it. Only with --speed alone.
    #[arg(
        long,
        requires = "speed",
        conflicts_with = "cost",
        conflicts_with = "throttle_mib_per_s"
    )]
    unthrottled: bool,

    /// Buffers of 32 MiB per measurement; by default 8 for time, 32 for instructions.
    #[arg(long)]
    buffers: Option<u32>,

    /// How often everything is measured; by default time 5 times, instructions once.
    #[arg(long)]
    repetitions: Option<u32>,

    /// Measure only these groups, such as `load`, `engine`, `service`.
    #[arg(long, value_delimiter = ',', value_name = "GROUP")]
    groups: Vec<String>,

    /// Write results and charts into vts/bench/results.
    #[arg(long)]
    save: bool,
}

const PROGRAM: &str = "VtsDmaBufLoaderBenchmark";

/// Room for all buffers of a measurement twice over, and for a file of 4 GiB.
const SIZE: Size = Size { memory_mib: 4 * 1024, data_disk_mib: 6 * 1024 };

/// The reduced run needs no file of 4 GiB.
pub const GATE_SIZE: Size = Size { memory_mib: 4 * 1024, data_disk_mib: 3 * 1024 };

/// For the whole run, by this machine's clock.
const TIME_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// By the device's clock, which does not run steadily: [`TIME_LIMIT`] is what ends a run.
const STEP_TIMEOUT_S: u64 = 30 * 24 * 3600;

/// Buffers of the reduced run.
const GATE_BUFFERS: u32 = 2;

/// With so few bytes, background work of the device shows in a single result; the least of three
/// hides it.
const GATE_REPETITIONS: u32 = 3;

/// Repetitions for time, unless the command line says otherwise.
const SPEED_REPETITIONS: u32 = 5;

/// Buffers, unless the command line says otherwise.
const SPEED_BUFFERS: u32 = 8;
const COST_BUFFERS: u32 = 32;

/// In proportion to the emulated processors as a phone's disk is to its own, see
/// vts/bench/README.md.
const PROPORTIONATE_MIB_PER_S: NonZeroU32 = NonZeroU32::new(250).unwrap();

/// Runs the benchmark for each flavour and mode; returns whether every measurement succeeded and
/// every bound holds.
pub fn run(
    workspace: &Workspace,
    flavours: &[Flavour],
    options: &Options,
    progress: &Progress,
) -> Result<bool> {
    let bounds = read_bounds(workspace)?;
    let device = Device::build(workspace, flavours, progress)?;
    let mut fine = true;
    for &flavour in flavours {
        for mode in options.modes() {
            let command = options.command(flavour, mode);
            let arguments = options.arguments(mode);
            let measurement = Measurement {
                data_read_rate: options.disk_mib_per_s(mode).map(Rate::from_mib_per_s),
                ..measurement(flavour, mode, SIZE)
            };
            let results = measure(&device, progress, measurement, &command, &arguments)?;
            let checks = bounds.check(&results);
            let saved = Saved { results, checks };
            progress.print(&format!("\n{}", saved.tables()));
            let dir = workspace.run_dir(flavour, mode.run_name())?;
            saved.write(&dir)?;
            progress.print(&format!("results and charts are in {}", dir.display()));
            if options.save {
                let dir = workspace.source("vts/bench/results");
                saved.write(&dir.join(options.results_name(flavour, mode)))?;
                progress.print(&format!("results and charts are in {}", dir.display()));
            }
            let missing_is_fine = !options.groups.is_empty();
            let holds =
                |check: &Checked| check.pass || (check.missing.is_some() && missing_is_fine);
            for failure in saved.results.failures() {
                progress.print(&format!("FAILED {failure}"));
            }
            fine &= saved.results.failures().is_empty() && saved.checks.iter().all(holds);
        }
    }
    if options.save {
        // The summary takes figures from the runs of both flavours.
        saved::remake(&workspace.source("vts/bench/results"))?;
    }
    Ok(fine)
}

/// Measures what the bounds of the gate need, with fewer buffers, and makes a test of each bound.
pub fn gate(
    workspace: &Workspace,
    device: &Device,
    flavour: Flavour,
    progress: &Progress,
) -> Result<Suite> {
    let bounds = read_bounds(workspace)?;
    let methods: BTreeSet<&str> = bounds
        .gate_selectors(&flavour.to_string())
        .into_iter()
        .map(|selector| selector.method.as_str())
        .collect();
    let mut arguments = vec!["--buffers".to_owned(), GATE_BUFFERS.to_string()];
    arguments.extend(["--repetitions".to_owned(), GATE_REPETITIONS.to_string()]);
    for method in methods {
        arguments.extend(["--method".to_owned(), method.to_owned()]);
    }
    let measurement = measurement(flavour, Mode::Cost, GATE_SIZE);
    let results = measure(device, progress, measurement, "cargo vts", &arguments)?;
    let mut suite = Suite::new(format!("{flavour}: cost"));
    suite.problems = results.failures();
    for check in bounds.check(&results).into_iter().filter(|check| check.gate) {
        let text = bounds::lines(std::slice::from_ref(&check));
        let verdict =
            if check.pass { Verdict::Passed } else { Verdict::Failed(text.trim().to_owned()) };
        suite.add(check.name, verdict);
    }
    Ok(suite)
}

fn read_bounds(workspace: &Workspace) -> Result<Bounds> {
    let path = workspace.source("vts/bench/bounds.json");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    Bounds::parse(&text)
}

/// A measurement without steps.
fn measurement(flavour: Flavour, mode: Mode, size: Size) -> Measurement<'static> {
    Measurement {
        flavour,
        mode,
        size,
        data_read_rate: None,
        // The program makes its settings itself, from measurement to measurement.
        memory: MemorySettings::default(),
        programs: &[PROGRAM],
        steps: &[],
        time_limit: TIME_LIMIT,
    }
}

/// Runs the program with the arguments; `command` is the command line that the results name.
fn measure(
    device: &Device,
    progress: &Progress,
    measurement: Measurement<'_>,
    command: &str,
    arguments: &[String],
) -> Result<Results> {
    let Measurement { flavour, mode, .. } = measurement;
    let phase = progress.phase(format!("{PROGRAM} on {flavour}, {mode:?}"));
    let mut argv = [SHELL_PATH, "-c", "exec \"./$0\" \"$@\"", PROGRAM].map(String::from).to_vec();
    argv.extend_from_slice(arguments);
    let step = Step { argv, ..Step::root(PROGRAM, "", STEP_TIMEOUT_S) };
    let measurement = Measurement { steps: std::slice::from_ref(&step), ..measurement };
    let mut lines = Vec::new();
    let ended = measurement.run(device, &phase, |_, line| lines.push(line.to_owned()));
    let read = lines.iter().map(String::as_str);
    let results = Results::from_lines(command, &flavour.to_string(), mode.into(), read);
    match results {
        // A measurement that failed made the program fail, and says more than its exit status.
        Ok(results) if !results.failures().is_empty() => Ok(results),
        results => ended.and(results),
    }
}

impl Options {
    fn modes(&self) -> Vec<Mode> {
        let all = self.cost == self.speed;
        let wanted = |mode: &Mode| all || (*mode == Mode::Cost) == self.cost;
        [Mode::Cost, Mode::Speed].into_iter().filter(wanted).collect()
    }

    /// How often everything is measured; once if `None`.
    fn repetitions(&self, mode: Mode) -> Option<u32> {
        self.repetitions.or((mode == Mode::Speed).then_some(SPEED_REPETITIONS))
    }

    fn buffers(&self, mode: Mode) -> u32 {
        let usual = if mode == Mode::Speed { SPEED_BUFFERS } else { COST_BUFFERS };
        self.buffers.unwrap_or(usual)
    }

    /// The rate of the disk; `None` if it is not paced.
    fn disk_mib_per_s(&self, mode: Mode) -> Option<NonZeroU32> {
        let is_throttled = mode == Mode::Speed && !self.unthrottled;
        is_throttled.then(|| self.throttle_mib_per_s.unwrap_or(PROPORTIONATE_MIB_PER_S))
    }

    /// The program's arguments.
    fn arguments(&self, mode: Mode) -> Vec<String> {
        let mut arguments = vec!["--buffers".to_owned(), self.buffers(mode).to_string()];
        if let Some(repetitions) = self.repetitions(mode) {
            arguments.extend(["--repetitions".to_owned(), repetitions.to_string()]);
        }
        if !self.groups.is_empty() {
            arguments.extend(["--group".to_owned(), self.groups.join(",")]);
        }
        arguments
    }

    /// The command that repeats this run.
    fn command(&self, flavour: Flavour, mode: Mode) -> String {
        let mut command = format!("cargo vts --flavour {flavour} bench --{}", mode.word());
        command += &format!(" --buffers {}", self.buffers(mode));
        if let Some(repetitions) = self.repetitions(mode) {
            command += &format!(" --repetitions {repetitions}");
        }
        if let Some(limit) = self.disk_mib_per_s(mode) {
            command += &format!(" --throttle-mib-per-s {limit}");
        } else if mode == Mode::Speed {
            command += " --unthrottled";
        }
        if !self.groups.is_empty() {
            command += &format!(" --groups {}", self.groups.join(","));
        }
        command
    }

    /// Name of the directory for the results of a run.
    fn results_name(&self, flavour: Flavour, mode: Mode) -> String {
        match (mode, self.disk_mib_per_s(mode)) {
            (Mode::Speed, Some(limit)) => format!("{flavour}-speed-throttled-{limit}"),
            (Mode::Speed, None) => format!("{flavour}-speed-unthrottled"),
            (Mode::Cost, _) => format!("{flavour}-cost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(words: &[&str]) -> Options {
        Line::parse_from([&["bench"], words].concat()).options
    }

    #[test]
    fn both_modes_unless_one_is_named() {
        assert_eq!(options(&[]).modes(), [Mode::Cost, Mode::Speed]);
        assert_eq!(options(&["--speed"]).modes(), [Mode::Speed]);
        assert_eq!(options(&["--cost", "--speed"]).modes(), [Mode::Cost, Mode::Speed]);
    }

    #[test]
    fn only_time_is_measured_on_a_throttled_disk() {
        let refusal = |words: &[&str]| {
            let words = [&["bench", "--throttle-mib-per-s"], words].concat();
            Line::try_parse_from(words).map(|_| ()).unwrap_err().to_string()
        };
        assert!(refusal(&["500"]).contains("required arguments were not provided:\n  --speed"));
        for modes in [&["500", "--cost"][..], &["500", "--cost", "--speed"]] {
            assert!(refusal(modes).contains("cannot be used with '--cost'"), "{modes:?}");
        }
        assert!(refusal(&["0", "--speed"]).contains("invalid value '0'"));
        assert!(refusal(&["9", "--speed", "--unthrottled"]).contains("cannot be used with"));
    }

    #[test]
    fn time_is_measured_on_a_proportionate_disk_by_default() {
        let both = options(&[]);
        assert_eq!(both.disk_mib_per_s(Mode::Speed), NonZeroU32::new(250));
        assert_eq!(both.disk_mib_per_s(Mode::Cost), None);
        assert_eq!((both.buffers(Mode::Speed), both.buffers(Mode::Cost)), (8, 32));
        assert_eq!(both.results_name(Flavour::Patched, Mode::Cost), "patched-cost");
        let unthrottled = options(&["--speed", "--unthrottled"]);
        assert_eq!(unthrottled.disk_mib_per_s(Mode::Speed), None);
        assert_eq!(
            unthrottled.command(Flavour::Patched, Mode::Speed),
            "cargo vts --flavour patched bench --speed --buffers 8 --repetitions 5 --unthrottled"
        );
        let name = unthrottled.results_name(Flavour::Patched, Mode::Speed);
        assert_eq!(name, "patched-speed-unthrottled");
    }

    #[test]
    fn the_command_makes_just_that_run() {
        let options = options(&["--speed", "--groups", "load,raw", "--throttle-mib-per-s", "500"]);
        let command = options.command(Flavour::Stock, Mode::Speed);
        assert_eq!(
            command,
            "cargo vts --flavour stock bench --speed --buffers 8 --repetitions 5 \
             --throttle-mib-per-s 500 --groups load,raw"
        );
        assert_eq!(options.results_name(Flavour::Stock, Mode::Speed), "stock-speed-throttled-500");
        assert_eq!(
            options.arguments(Mode::Speed),
            ["--buffers", "8", "--repetitions", "5", "--group", "load,raw"]
        );
    }
}
