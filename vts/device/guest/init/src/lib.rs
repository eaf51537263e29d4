// SPDX-License-Identifier: Apache-2.0
//! What the virtual device's first process shares with the host: the test [`plan`] that it reads,
//! with a [`step`] on each line, and the [`report`] that it writes. The parsers of its
//! configuration files live here too, so that they are tested on the host.
//!
//! # Threading and lifetime
//! Data and parsers: no threads, and nothing kept between calls.

pub mod file_contexts;
pub mod ids;
pub mod plan;
pub mod rc;
pub mod report;
pub mod step;
pub mod ueventd;
pub mod words;
