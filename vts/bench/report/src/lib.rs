// SPDX-License-Identifier: Apache-2.0
//! Reads what the benchmark measured: tables, JSON, charts, and the bounds that must hold.
//!
//! The benchmark (`vts/bench`) writes lines on the device; [`results`] reads them, [`table`] and [`chart`] show them beside
//! the figures that the public series published ([`published`]), and [`bounds`] compares them with what is committed.

#![deny(missing_docs)]

pub mod bounds;
pub mod call_tree;
pub mod chart;
pub mod figure;
mod json;
pub mod published;
pub mod results;
pub mod saved;
pub mod table;

/// How a run was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One guest instruction per nanosecond of guest time: CPU times are counts of instructions.
    Cost,
    /// Real time.
    Speed,
}
