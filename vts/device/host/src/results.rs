// SPDX-License-Identifier: Apache-2.0
//! Results of tests.

use std::time::Duration;

/// What the output of a test that cannot run has before the reason.
pub const SKIPPED: &str = "SKIPPED: ";

/// Outcome of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed; the text says how, as far as it is known.
    Failed(String),
    /// It cannot run; the text says why.
    Skipped(String),
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Its name within the suite.
    pub name: String,
    /// Its outcome.
    pub verdict: Verdict,
}

/// The tests of one program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suite {
    /// Name of the program, and as whom it ran if that differs.
    pub name: String,
    /// Its tests, in the order in which they ended.
    pub tests: Vec<Test>,
    /// What went wrong apart from a single test; each counts as a failure.
    pub problems: Vec<String>,
    /// How long it ran, if measured.
    pub duration: Option<Duration>,
}

impl Suite {
    /// A suite without a test.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a test.
    pub fn add(&mut self, name: impl Into<String>, verdict: Verdict) {
        self.tests.push(Test { name: name.into(), verdict });
    }

    /// Its totals.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { failed: self.problems.len(), ..Totals::default() };
        for test in &self.tests {
            match test.verdict {
                Verdict::Passed => totals.passed += 1,
                Verdict::Failed(_) => totals.failed += 1,
                Verdict::Skipped(_) => totals.skipped += 1,
            }
        }
        totals
    }
}

/// Numbers of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, and problems.
    pub failed: usize,
    /// Tests that could not run.
    pub skipped: usize,
}

impl Totals {
    /// Of all the suites.
    pub fn of(suites: &[Suite]) -> Self {
        suites.iter().map(Suite::totals).fold(Self::default(), |sum, one| Self {
            passed: sum.passed + one.passed,
            failed: sum.failed + one.failed,
            skipped: sum.skipped + one.skipped,
        })
    }

    /// Whether something ran and nothing failed.
    pub fn is_success(self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals() {
        let mut one = Suite::new("one");
        one.add("a", Verdict::Passed);
        one.add("b", Verdict::Skipped("why".into()));
        assert!(Totals::of(&[one.clone()]).is_success());
        let mut two = Suite::new("two");
        two.add("a", Verdict::Failed("x".into()));
        two.problems.push("y".into());
        let totals = Totals::of(&[one, two]);
        assert_eq!(totals, Totals { passed: 1, failed: 2, skipped: 1 });
        assert!(!totals.is_success());
        assert!(!Totals::of(&[]).is_success());
    }
}
