// SPDX-License-Identifier: Apache-2.0
//! What the on-device tests share: patterned files, the outcomes of tests, waiting.

#![deny(missing_docs)]

pub mod files;
pub mod outcome;
pub mod pattern;
pub mod wait;
