// SPDX-License-Identifier: Apache-2.0
//! The benchmark's output: one JSON object per line, written on the device and read on the host.
//!
//! A complete output consists of one [`Record::Machine`], any number of [`Record::Measurement`] and
//! [`Record::CallTree`], and [`Record::End`].
//!
//! # Threading and lifetime
//! The types are plain values and `Send`; the crate has no state and does no I/O.

#![deny(missing_docs)]

mod case;

use serde::{Deserialize, Serialize};

pub use case::{Case, Direction, Kind};

/// A record, written as one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The machine and the sizes of the run.
    Machine(Machine),
    /// One measurement.
    Measurement(Measurement),
    /// The call tree of a method in the kernel.
    CallTree {
        /// The method, of the public series' read table.
        method: String,
        /// The tree.
        #[serde(flatten)]
        tree: CallTree,
    },
    /// The end of the benchmark.
    End {
        /// The number of measurements written.
        measurements: u64,
    },
}

impl Record {
    /// Converts the record to a line, without a line end.
    ///
    /// # Errors
    /// None in practice: every value has a JSON form.
    pub fn to_line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Parses a line; `None` if it is not a record.
    pub fn from_line(line: &str) -> Option<Self> {
        line.starts_with("{\"record\":").then(|| serde_json::from_str(line).ok()).flatten()
    }
}

/// The machine and the sizes of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Processors.
    pub cpus: u32,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// Page size in bytes.
    pub page_bytes: u64,
    /// Buffers per measurement.
    pub buffers: u32,
    /// Size of a buffer in bytes.
    pub buffer_bytes: u64,
    /// The number of repetitions of each measurement.
    pub repetitions: u32,
    /// Whether CPU times include [`Cost::system_ns`].
    pub system_time: bool,
}

/// The kernel functions that ran while one buffer was created and loaded, by caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallTree {
    /// Bytes that were loaded.
    pub bytes: u64,
    /// CPU time without the tracer.
    pub untraced_ns: u64,
    /// CPU time with the tracer, whose cost is spread over the calls.
    pub traced_ns: u64,
    /// The traced functions, each before those that it calls.
    pub nodes: Vec<CallNode>,
}

/// A function in one place of a call tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallNode {
    /// The depth in the tree, from 0.
    pub depth: u32,
    /// The name of the function.
    pub function: String,
    /// The number of calls from this caller.
    pub calls: u64,
    /// Time in the function and in the functions that it calls, without sleeping.
    pub ns: u64,
}

/// One repetition of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The case.
    #[serde(flatten)]
    pub case: Case,
    /// The number of the repetition, from 0.
    pub repetition: u32,
    /// The result.
    pub outcome: Outcome,
}

/// The result of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The method ran and moved the right bytes.
    Measured(Phases),
    /// This kernel or this machine does not support the method.
    NotPossible {
        /// The refused operation, with the errno.
        reason: String,
    },
    /// The method failed although it should be supported, or moved wrong bytes.
    Failed {
        /// The failure.
        reason: String,
    },
}

/// Cost by phase, of all operations together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Creating the buffers; absent if the I/O phase includes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Cost>,
    /// Moving the bytes, and mapping the buffer if the method maps it; or making the calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Cost>,
    /// Unmapping and closing the buffers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<Cost>,
}

impl Phases {
    /// Returns the sum of all phases.
    pub fn total(&self) -> Cost {
        [self.create, self.io, self.close]
            .into_iter()
            .flatten()
            .fold(Cost { system_ns: Some(0), ..Cost::default() }, Cost::plus)
    }
}

/// The cost of a phase, in nanoseconds. With one guest instruction per nanosecond of guest time,
/// CPU times are counts of instructions, and the wall time means little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU time of the benchmark's process, in user space and in the kernel.
    pub process_ns: u64,
    /// CPU time of the thread of that process that makes the calls, without helper threads.
    pub caller_ns: u64,
    /// CPU time of the service's process.
    pub service_ns: u64,
    /// All time in which the processor was not idle: tasks, kernel threads, interrupts. Known only
    /// on machines with one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_ns: Option<u64>,
    /// Elapsed time.
    pub wall_ns: u64,
}

impl Cost {
    /// Returns the sum; it has a system time if both costs have one.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            process_ns: self.process_ns + other.process_ns,
            caller_ns: self.caller_ns + other.caller_ns,
            service_ns: self.service_ns + other.service_ns,
            system_ns: self.system_ns.zip(other.system_ns).map(|(left, right)| left + right),
            wall_ns: self.wall_ns + other.wall_ns,
        }
    }

    /// Subtracts the cost of a part; the rest has a system time if both have one.
    #[must_use]
    pub fn minus(self, part: Self) -> Self {
        let less = |whole: Option<u64>, part: Option<u64>| {
            whole.zip(part).map(|(whole, part)| whole.saturating_sub(part))
        };
        Self {
            process_ns: self.process_ns.saturating_sub(part.process_ns),
            caller_ns: self.caller_ns.saturating_sub(part.caller_ns),
            service_ns: self.service_ns.saturating_sub(part.service_ns),
            system_ns: less(self.system_ns, part.system_ns),
            wall_ns: self.wall_ns.saturating_sub(part.wall_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(outcome: Outcome) -> Record {
        let case = Case::new(Kind::Seed, "dmabuf direct c_f_r", Direction::Load, 1 << 30, 32);
        Record::Measurement(Measurement {
            case: Case { row: Some(22), ..case }.with("depth", 2),
            repetition: 0,
            outcome,
        })
    }

    #[test]
    fn lines_are_read_back() {
        let cost =
            Cost { process_ns: 1, caller_ns: 1, service_ns: 2, system_ns: Some(4), wall_ns: 3 };
        let phases = Phases { create: Some(cost), io: Some(cost), close: None };
        for record in [
            measurement(Outcome::Measured(phases)),
            measurement(Outcome::NotPossible { reason: "EXDEV".to_owned() }),
            measurement(Outcome::Failed { reason: "wrong byte".to_owned() }),
            Record::End { measurements: 3 },
        ] {
            let line = record.to_line().unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(Record::from_line(&line), Some(record));
        }
    }

    #[test]
    fn other_lines_are_not_records() {
        assert_eq!(Record::from_line("dmabuf direct c_f_r: 3 M"), None);
        assert_eq!(Record::from_line("{\"event\":\"done\"}"), None);
        assert_eq!(Record::from_line("{\"record\":\"unknown\"}"), None);
    }

    #[test]
    fn a_sum_has_a_system_time_only_if_each_part_has() {
        let known = Cost { process_ns: 1, system_ns: Some(5), wall_ns: 9, ..Cost::default() };
        let phases = Phases { create: Some(known), io: Some(known), close: Some(known) };
        assert_eq!(phases.total().system_ns, Some(15));
        assert_eq!(phases.total().process_ns, 3);
        assert_eq!(known.minus(known), Cost { system_ns: Some(0), ..Cost::default() });
        let unknown = Cost { system_ns: None, ..known };
        assert_eq!(known.minus(unknown).system_ns, None);
        assert_eq!(Phases { io: Some(unknown), ..phases }.total().system_ns, None);
    }
}
