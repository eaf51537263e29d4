// SPDX-License-Identifier: Apache-2.0
//! The outcome of a measurement: distinguishes methods that the machine does not support from
//! failures.

use std::fmt;

use vts_bench_record::{Outcome, Phases};

/// The error of a method that this kernel or machine does not support.
#[derive(Debug)]
struct NotPossible(String);

impl fmt::Display for NotPossible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for NotPossible {}

/// Makes the error that ends a measurement as not possible.
pub fn not_possible(reason: impl Into<String>) -> anyhow::Error {
    NotPossible(reason.into()).into()
}

/// Whether an error is a failure, rather than a feature that the machine lacks.
pub fn is_failure(error: &anyhow::Error) -> bool {
    !error.is::<NotPossible>()
}

/// Converts a result to the outcome of a measurement.
pub fn of(result: anyhow::Result<Phases>) -> Outcome {
    match result {
        Ok(phases) => Outcome::Measured(phases),
        Err(error) if !is_failure(&error) => Outcome::NotPossible { reason: format!("{error:#}") },
        Err(error) => Outcome::Failed { reason: format!("{error:#}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn refusals_are_distinguished_from_failures() {
        let refused = of(Err(not_possible("errno=18")));
        assert_eq!(refused, Outcome::NotPossible { reason: "errno=18".to_owned() });
        assert!(matches!(of(Err(anyhow!("broken"))), Outcome::Failed { .. }));
        assert!(matches!(of(Ok(Phases::default())), Outcome::Measured(_)));
    }
}
