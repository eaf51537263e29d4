// SPDX-License-Identifier: Apache-2.0
//! The measurements of a run, with the repetitions of a case in one series.

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use vts_bench_record::{
    CallTree, Case, Direction, Kind, Machine, Measurement, Outcome, Phases, Record,
};

/// The mode of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One guest instruction per nanosecond of guest time: CPU times are counts of instructions.
    Cost,
    /// Real time.
    Speed,
}

/// The results of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The command that started the run.
    pub command: String,
    /// The kernel of the device: `patched` or `stock`.
    pub flavour: String,
    /// The mode of the run.
    pub mode: Mode,
    /// The device.
    pub machine: Machine,
    /// The measurements, in the order of the run.
    pub measurements: Vec<Series>,
    /// The kernel's call trees, by method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub call_trees: Vec<(String, CallTree)>,
}

/// All repetitions of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The case.
    #[serde(flatten)]
    pub case: Case,
    /// The cost of each repetition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Phases>,
    /// The reason why the machine does not support the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_possible: Option<String>,
    /// The reason why the measurement failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Results {
    /// Collects the records of a run; lines that are not records are skipped.
    ///
    /// # Errors
    /// If the run is incomplete.
    pub fn from_lines<'a>(
        command: &str,
        flavour: &str,
        mode: Mode,
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        let mut machine = None;
        let mut measurements: Vec<Series> = Vec::new();
        let mut call_trees: Vec<(String, CallTree)> = Vec::new();
        let mut count = 0;
        let mut end = None;
        for record in lines.into_iter().filter_map(Record::from_line) {
            match record {
                Record::Machine(found) => machine = Some(found),
                Record::Measurement(one) => {
                    count += 1;
                    add(&mut measurements, one);
                }
                Record::CallTree { method, tree } => {
                    if !call_trees.iter().any(|(known, _)| *known == method) {
                        call_trees.push((method, tree));
                    }
                }
                Record::End { measurements } => end = Some(measurements),
            }
        }
        match end {
            Some(end) if end == count => {}
            Some(end) => bail!("{count} of {end} measurements arrived"),
            None => bail!("the benchmark has not ended ({count} measurements)"),
        }
        Ok(Self {
            command: command.to_owned(),
            flavour: flavour.to_owned(),
            mode,
            machine: machine.context("the record of the machine is missing")?,
            measurements,
            call_trees,
        })
    }

    /// Returns the series of a kind and direction.
    pub fn of(&self, kind: Kind, direction: Direction) -> impl Iterator<Item = &Series> {
        self.measurements
            .iter()
            .filter(move |series| series.case.kind == kind && series.case.direction == direction)
    }

    /// Lists the measurements that failed, with the reason.
    pub fn failures(&self) -> Vec<String> {
        let failed = |series: &Series| {
            series.failed.as_ref().map(|reason| format!("{}: {reason}", series.case.method))
        };
        self.measurements.iter().filter_map(failed).collect()
    }
}

fn add(all: &mut Vec<Series>, Measurement { case, outcome, .. }: Measurement) {
    let index = all.iter().position(|series| series.case == case).unwrap_or_else(|| {
        all.push(Series { case, samples: Vec::new(), not_possible: None, failed: None });
        all.len() - 1
    });
    let series = &mut all[index];
    match outcome {
        Outcome::Measured(phases) => series.samples.push(phases),
        Outcome::NotPossible { reason } => series.not_possible = Some(reason),
        Outcome::Failed { reason } => series.failed = Some(reason),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use vts_bench_record::Cost;

    /// A cost with the same time on every clock.
    pub(crate) fn cost(ns: u64) -> Cost {
        Cost { process_ns: ns, caller_ns: ns, service_ns: 0, system_ns: Some(ns), wall_ns: ns }
    }

    /// A series of 1 GiB with one sample.
    pub(crate) fn series(kind: Kind, method: &str, create: u64, io: u64, close: u64) -> Series {
        let phases =
            Phases { create: Some(cost(create)), io: Some(cost(io)), close: Some(cost(close)) };
        Series {
            case: Case::new(kind, method, Direction::Load, 1 << 30, 32),
            samples: vec![phases],
            not_possible: None,
            failed: None,
        }
    }

    /// A run with these series.
    pub(crate) fn results(measurements: Vec<Series>) -> Results {
        Results {
            command: "cargo vts bench --cost".to_owned(),
            flavour: "patched".to_owned(),
            mode: Mode::Cost,
            machine: machine(),
            measurements,
            call_trees: Vec::new(),
        }
    }

    fn machine() -> Machine {
        Machine {
            kernel: "6.12".to_owned(),
            cpus: 1,
            memory_bytes: 4 << 30,
            page_bytes: 4096,
            buffers: 32,
            buffer_bytes: 32 << 20,
            repetitions: 2,
            system_time: true,
        }
    }

    fn measurement(repetition: u32, outcome: Outcome) -> Record {
        Record::Measurement(Measurement {
            case: Case::new(Kind::Seed, "m", Direction::Load, 1, 1),
            repetition,
            outcome,
        })
    }

    fn read(records: &[Record]) -> Result<Results> {
        let lines: Vec<String> = records.iter().map(|r| r.to_line().unwrap()).collect();
        let noise = ["noise"].into_iter();
        Results::from_lines(
            "c",
            "stock",
            Mode::Speed,
            noise.chain(lines.iter().map(String::as_str)),
        )
    }

    #[test]
    fn repetitions_of_a_case_are_one_series() {
        let phases = Phases { io: Some(cost(7)), ..Phases::default() };
        let all = read(&[
            Record::Machine(machine()),
            measurement(0, Outcome::Measured(phases)),
            measurement(1, Outcome::Measured(phases)),
            Record::End { measurements: 2 },
        ])
        .unwrap();
        assert_eq!(all.measurements.len(), 1);
        assert_eq!(all.measurements[0].samples, [phases, phases]);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), all);
    }

    #[test]
    fn an_incomplete_run_is_refused() {
        let failed = Outcome::Failed { reason: "x".to_owned() };
        let lines = [Record::Machine(machine()), measurement(0, failed)];
        assert!(read(&lines).is_err());
        let cut = [lines[0].clone(), lines[1].clone(), Record::End { measurements: 2 }];
        assert!(read(&cut).is_err());
        let whole = [lines[0].clone(), lines[1].clone(), Record::End { measurements: 1 }];
        assert_eq!(read(&whole).unwrap().failures(), ["m: x"]);
    }
}
