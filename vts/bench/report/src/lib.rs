// SPDX-License-Identifier: Apache-2.0
//! The report of the benchmark: tables, charts, saved runs, and the bounds on figures.
//!
//! The benchmark (`vts/bench`) writes records on the device. [`results`] collects them; [`table`]
//! and [`chart`] show them beside the figures that the public series published ([`published`]);
//! [`bounds`] compares [`figure`]s with the committed limits; [`saved`] stores a run as one JSON
//! file.
//!
//! # Threading and lifetime
//! The types are plain values and `Send`; the functions keep no state. Only [`saved`] reads and
//! writes files; two threads must not write the same directory at a time.

#![deny(missing_docs)]

pub mod bounds;
pub mod call_tree;
pub mod chart;
mod display;
pub mod figure;
mod json;
pub mod published;
pub mod results;
pub mod saved;
pub mod table;

pub use results::Mode;
