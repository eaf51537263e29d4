// SPDX-License-Identifier: Apache-2.0
//! Charts as SVG: the measurements of one run, and a summary of two runs.

mod bars;
mod run;
mod summary;

pub use run::of_run;
pub use summary::summary;
