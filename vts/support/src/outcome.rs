// SPDX-License-Identifier: Apache-2.0
//! The outcome of a test: passed, failed, or skipped with a reason.

use std::fmt;

use anyhow::{Context, Result};
use libtest_mimic::{Completion, Failed, Trial};
use rustix::io::Errno;

/// The reason why a test cannot run here.
#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SKIPPED: {}", self.0)
    }
}

impl std::error::Error for Skip {}

/// Makes the error that ends a test as skipped.
pub fn skip(reason: impl Into<String>) -> anyhow::Error {
    Skip(reason.into()).into()
}

/// Tells whether an error is that of [`skip`].
pub fn is_skip(error: &anyhow::Error) -> bool {
    error.is::<Skip>()
}

/// Skips the test if kernel or disk do not support what `made` attempted.
pub fn or_skip<T>(made: rustix::io::Result<T>, what: &str) -> Result<T> {
    match made {
        Err(errno @ (Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOPKG)) => {
            Err(skip(format!("{what}: {errno}")))
        }
        made => made.with_context(|| what.to_owned()),
    }
}

/// Makes the trial of a test. An error or a panic fails it; the error of [`skip`] marks it as
/// ignored.
pub fn trial(topic: &str, name: &str, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::ignorable_test(format!("{topic}::{name}"), move || match test() {
        Ok(()) => Ok(Completion::Completed),
        Err(error) if is_skip(&error) => {
            eprintln!("{error}");
            Ok(Completion::ignored_with(error))
        }
        Err(error) => Err(Failed::from(format!("{error:#}"))),
    })
}
