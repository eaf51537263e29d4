// SPDX-License-Identifier: Apache-2.0
//! Turns the output of one step into test results.
//!
//! An SELinux denial fails the step during which it happens, unless the step has printed
//! `EXPECT-AVC: TEXT` on its standard output, with a TEXT that the denial contains.

use vts_init::report::Stream;

use crate::event_text;
use crate::results::{Suite, Verdict};
use crate::steps::Format;
use crate::{libtest, tap};

const EXPECT_AVC: &str = "EXPECT-AVC: ";

/// Lines of a failed step's output that are kept for the summary.
const KEPT_LINES: usize = 40;

/// A step that runs.
#[derive(Debug)]
pub struct RunningStep {
    step: String,
    suite: String,
    parser: Parser,
    expected_denials: Vec<String>,
    output: Vec<String>,
}

#[derive(Debug)]
enum Parser {
    Libtest(libtest::Parser),
    Tap(tap::Parser),
    ExitStatus,
}

/// How a step ended.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// Exit status, if it exited.
    pub code: Option<i32>,
    /// Number of the signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
}

impl RunningStep {
    /// A step that begins, and the name of the suite of its tests.
    pub fn new(step: String, suite: String, format: Format) -> Self {
        let parser = match format {
            Format::Libtest => Parser::Libtest(libtest::Parser::new(&suite)),
            Format::Tap => Parser::Tap(tap::Parser::new(&suite)),
            Format::ExitStatus => Parser::ExitStatus,
        };
        Self { step, suite, parser, expected_denials: vec![], output: vec![] }
    }

    /// The step, and the test that it runs now, if its output tells.
    pub fn current(&self) -> String {
        match &self.parser {
            Parser::Libtest(parser) => {
                format!("{}: {}", self.step, parser.current().unwrap_or_default())
            }
            Parser::Tap(_) | Parser::ExitStatus => self.step.clone(),
        }
    }

    /// Takes a line that it has printed.
    pub fn line(&mut self, stream: Stream, line: String) {
        if stream == Stream::Stdout {
            if let Some((_, text)) = line.split_once(EXPECT_AVC) {
                self.expected_denials.push(text.trim().to_owned());
            }
            match &mut self.parser {
                Parser::Libtest(parser) => parser.line(&line),
                Parser::Tap(parser) => parser.line(&line),
                Parser::ExitStatus => {}
            }
        }
        self.output.push(line);
    }

    /// The results of the step, which has ended; `denials` are those that were logged meanwhile.
    pub fn finish(self, ending: Ending, denials: &[String]) -> Suite {
        let how = if ending.timed_out {
            "ran out of time".to_owned()
        } else {
            event_text::ending(ending.code, ending.signal)
        };
        let last_lines = || {
            let first = self.output.len().saturating_sub(KEPT_LINES);
            format!("it {how}; the end of its output:\n{}", self.output[first..].join("\n"))
        };
        let succeeded = ending.code == Some(0) && !ending.timed_out;
        let mut suite = match self.parser {
            Parser::Libtest(parser) => parser.finish(),
            Parser::Tap(parser) => parser.finish(ending.code),
            Parser::ExitStatus => {
                let mut suite = Suite::new(self.suite);
                let failure = || Verdict::Failed(last_lines());
                suite.add(&self.step, if succeeded { Verdict::Passed } else { failure() });
                suite
            }
        };
        let totals = suite.totals();
        if totals.failed == 0 && !succeeded && totals.skipped == 0 {
            suite.problems.push(last_lines());
        }
        let unexpected: Vec<String> = denials
            .iter()
            .filter(|denial| !self.expected_denials.iter().any(|text| denial.contains(text)))
            .cloned()
            .collect();
        if let Verdict::Failed(text) = verdict_on(&unexpected) {
            suite.problems.push(text);
        }
        suite
    }
}

/// The verdict on denials that were not expected.
pub fn verdict_on(denials: &[String]) -> Verdict {
    if denials.is_empty() {
        Verdict::Passed
    } else {
        Verdict::Failed(format!("SELinux denied:\n{}", denials.join("\n")))
    }
}
