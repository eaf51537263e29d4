// SPDX-License-Identifier: Apache-2.0
//! How a test ends: passed, failed, or skipped with a reason.

use std::fmt;

use anyhow::Result;
use libtest_mimic::{Completion, Failed, Trial};

/// Why a test cannot run here.
#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SKIPPED: {}", self.0)
    }
}

impl std::error::Error for Skip {}

/// The error that ends a test as skipped.
pub fn skip(reason: impl Into<String>) -> anyhow::Error {
    Skip(reason.into()).into()
}

/// A test of a topic. It fails by an error or a panic.
pub fn trial(topic: &str, name: &str, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::ignorable_test(format!("{topic}::{name}"), move || match test() {
        Ok(()) => Ok(Completion::Completed),
        Err(error) if error.is::<Skip>() => {
            eprintln!("{error}");
            Ok(Completion::ignored_with(error))
        }
        Err(error) => Err(Failed::from(format!("{error:#}"))),
    })
}
