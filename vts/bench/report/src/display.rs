// SPDX-License-Identifier: Apache-2.0
//! The label, the values and the unit of a series in tables and charts.

use vts_bench_record::Case;

use crate::figure::{per_gib, typical_ns, Clock, Phase};
use crate::results::{Mode, Results, Series};

/// Returns the clock of a run: elapsed time; or instructions, of the whole device if known, else of
/// the two processes.
pub fn clock(results: &Results) -> Clock {
    match results.mode {
        Mode::Speed => Clock::Wall,
        Mode::Cost if results.machine.system_time => Clock::System,
        Mode::Cost => Clock::Processes,
    }
}

/// Returns the unit of the values.
pub fn unit(results: &Results) -> &'static str {
    match clock(results) {
        Clock::System => "million instructions per GiB, whole device",
        Clock::Processes | Clock::Caller => "million instructions per GiB, client and service",
        Clock::Wall => "milliseconds per GiB, medians",
    }
}

/// Formats the method with its parameters.
pub fn label(case: &Case) -> String {
    let parameters =
        case.parameters.iter().map(|(name, value)| match name.strip_suffix("_bytes") {
            Some(name) if value % (1 << 20) == 0 => format!("{name} {} MiB", value >> 20),
            _ => format!("{name} {value}"),
        });
    let parts: Vec<String> = std::iter::once(case.method.clone()).chain(parameters).collect();
    parts.join(", ")
}

/// Returns the sum of some phases per GiB, in milliseconds or in millions of instructions.
pub fn millions(series: &Series, phases: &[Phase], clock: Clock) -> Option<f64> {
    typical_ns(series, phases, clock).map(|ns| per_gib(ns, series.case.bytes.max(1)) / 1e6)
}
