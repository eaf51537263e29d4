// SPDX-License-Identifier: Apache-2.0
//! Reads TAP, the output of the kernel's own tests.

use crate::results::{Suite, Verdict};

/// Exit status by which one of the kernel's own tests says that it cannot run.
const KSFT_SKIP: i32 = 4;

/// Reads the tests of one program, line by line.
#[derive(Debug, Default)]
pub struct Parser {
    suite: Suite,
    planned: Option<usize>,
    diagnosis: String,
}

impl Parser {
    /// Starts a suite.
    pub fn new(suite: impl Into<String>) -> Self {
        Self { suite: Suite::new(suite), ..Self::default() }
    }

    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        if let Some(text) = line.strip_prefix("# ") {
            self.diagnosis = text.trim().to_owned();
        } else if let Some(plan) = line.strip_prefix("1..") {
            let (count, rest) = plan.split_once(' ').unwrap_or((plan, ""));
            self.planned = count.parse().ok();
            if let Some(reason) = rest.trim_start().strip_prefix("# SKIP") {
                self.suite.add("all", Verdict::Skipped(reason.trim().to_owned()));
                self.planned = Some(1);
            }
        } else if let Some(reason) = line.strip_prefix("Bail out!") {
            self.suite.problems.push(format!("it bailed out: {}", reason.trim()));
        } else if let Some(rest) = line.strip_prefix("ok ") {
            self.test(rest, true);
        } else if let Some(rest) = line.strip_prefix("not ok ") {
            self.test(rest, false);
        }
    }

    fn test(&mut self, text: &str, ok: bool) {
        let (number, description) = text.split_once(' ').unwrap_or((text, ""));
        let (name, directive) = description.split_once("# ").unwrap_or((description, ""));
        let skip = directive.strip_prefix("SKIP").map(|reason| reason.trim().to_owned());
        let name = match name.trim() {
            "" => format!("test {number}"),
            name => name.to_owned(),
        };
        let verdict = match (skip, ok) {
            (Some(reason), _) => Verdict::Skipped(reason),
            (None, true) => Verdict::Passed,
            (None, false) => Verdict::Failed(self.diagnosis.clone()),
        };
        self.suite.add(name, verdict);
    }

    /// Ends the suite.
    pub fn finish(mut self, exit_status: Option<i32>) -> Suite {
        let tests = self.suite.tests.len();
        if exit_status == Some(KSFT_SKIP) && tests == 0 {
            self.suite.add("all", Verdict::Skipped(self.diagnosis));
        } else if self.planned != Some(tests) {
            let planned = self.planned.map_or("no plan".into(), |n| format!("a plan of {n} tests"));
            self.suite.problems.push(format!("{planned}, but {tests} results"));
        }
        self.suite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, exit_status: i32) -> Suite {
        let mut parser = Parser::new("s");
        text.lines().for_each(|line| parser.line(line));
        parser.finish(Some(exit_status))
    }

    #[test]
    fn results() {
        let suite = parse(
            "TAP version 13\n1..4\n# Testing heap: system\n# ====\nok 1 Import buffer 0\n\
             # seen -1\nnot ok 2 sync\nok 3 # SKIP Could not open vgem -1\nok 4\n\
             # Totals: pass:2 fail:1 xfail:0 xpass:0 skip:1 error:0\n",
            1,
        );
        assert!(suite.problems.is_empty());
        let verdicts: Vec<_> = suite.tests.iter().map(|t| (t.name.as_str(), &t.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("Import buffer 0", &Verdict::Passed),
                ("sync", &Verdict::Failed("seen -1".into())),
                ("test 3", &Verdict::Skipped("Could not open vgem -1".into())),
                ("test 4", &Verdict::Passed),
            ]
        );
    }

    #[test]
    fn cut_short() {
        assert_eq!(parse("1..3\nok 1 a\n", 0).problems, ["a plan of 3 tests, but 1 results"]);
        assert_eq!(parse("Bail out! no memory\n", 1).problems.len(), 2);
        assert_eq!(parse("", 127).problems, ["no plan, but 0 results"]);
    }

    #[test]
    fn all_skipped() {
        let skipped = |reason: &str| Verdict::Skipped(reason.into());
        let suite = parse("TAP version 13\n1..0 # SKIP no device\n", 4);
        assert_eq!(
            (suite.tests[0].verdict.clone(), suite.problems.len()),
            (skipped("no device"), 0)
        );
        let suite = parse("1..6\n# drivers/dma-buf/udmabuf: [skip,no-memfd]\n", 4);
        assert_eq!(suite.tests[0].verdict, skipped("drivers/dma-buf/udmabuf: [skip,no-memfd]"));
        assert!(suite.problems.is_empty());
    }
}
