// SPDX-License-Identifier: Apache-2.0
//! What the on-device tests share: patterned files and the outcomes of tests.

#![deny(missing_docs)]

pub mod files;
pub mod outcome;
pub mod pattern;
