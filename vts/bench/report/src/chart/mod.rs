// SPDX-License-Identifier: Apache-2.0
//! Charts as SVG: what a run measured, and a summary of two runs.

mod bars;
mod run;
mod summary;

pub use run::of_run;
pub use summary::summary;
