// SPDX-License-Identifier: Apache-2.0
//! Shared code of the on-device tests: patterned files, outcomes of tests, waiting.
//!
//! # Threading and lifetime
//! Every function may be called from any thread; the crate has no statics and starts no threads.
//! [`files::Files`] removes its directory when it is dropped, so it must outlive the paths that it
//! returns; open files stay usable. [`wait::wait_until`] blocks its thread.

#![deny(missing_docs)]

pub mod files;
pub mod importer;
pub mod outcome;
pub mod pattern;
pub mod wait;
