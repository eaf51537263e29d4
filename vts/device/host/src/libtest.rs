// SPDX-License-Identifier: Apache-2.0
//! Reads the output of libtest and of libtest-mimic, as text.
//!
//! Their JSON does not serve: libtest's needs a nightly compiler, and libtest-mimic's alone would
//! be a second parser. cargo-nextest runs no documentation tests, and nothing on a device.
//!
//! A test that cannot run prints `SKIPPED: reason` on its standard output and returns. libtest
//! shows that after the tests, given `--show-output`. libtest-mimic captures nothing, so with
//! `--test-threads=1` the line stands between a test's name and its outcome.

use crate::results::{Suite, Verdict, SKIPPED};

/// Reads the tests of one program, line by line.
#[derive(Debug, Default)]
pub struct Parser {
    suite: Suite,
    group: Option<Group>,
}

/// The tests between `running N tests` and `test result:`.
#[derive(Debug, Default)]
struct Group {
    /// Index of its first test in the suite.
    first: usize,
    /// Outcomes as the program counts them: passed, failed, ignored.
    counts: [usize; 3],
    /// The test that runs.
    current: Option<String>,
    /// Why it cannot run.
    skip: Option<String>,
    /// The test whose output is being read, in the part after the tests.
    output_of: Option<String>,
}

enum Outcome {
    Ok,
    Failed,
    Ignored(String),
}

impl Parser {
    /// Starts a suite.
    pub fn new(suite: impl Into<String>) -> Self {
        Self { suite: Suite::new(suite), group: None }
    }

    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        let running = line.strip_prefix("running ");
        if running.is_some_and(|rest| rest.ends_with(" tests") || rest.ends_with(" test")) {
            self.close_group("");
            self.group = Some(Group { first: self.suite.tests.len(), ..Group::default() });
            return;
        }
        let Some(group) = &mut self.group else { return };
        if let Some(result) = line.strip_prefix("test result: ") {
            group.output_of = None;
            self.close_group(result);
        } else if let Some(name) = output_heading(line) {
            group.output_of = Some(name.to_owned());
        } else if line == "failures:" || line == "successes:" {
            group.output_of = None;
        } else if group.output_of.is_some() {
            self.output_line(line);
        } else if let Some((name, rest)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            group.current = Some(name.trim_end().to_owned());
            group.skip = None;
            self.test_line(rest);
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ..."))
        {
            group.current = Some(name.trim_end().to_owned());
            group.skip = None;
        } else {
            self.test_line(line);
        }
    }

    /// The test that runs now.
    pub fn current(&self) -> Option<&str> {
        self.group.as_ref()?.current.as_deref()
    }

    /// Ends the suite.
    pub fn finish(mut self) -> Suite {
        self.close_group("");
        self.suite
    }

    /// Takes a line, or the end of one: either the outcome of the current test or its output.
    fn test_line(&mut self, text: &str) {
        let Some(group) = &mut self.group else { return };
        if group.current.is_none() {
            return;
        }
        if let Some(reason) = text.trim_start().strip_prefix(SKIPPED) {
            group.skip = Some(reason.to_owned());
            return;
        }
        let Some(outcome) = outcome(text) else { return };
        let (Some(name), skip) = (group.current.take(), group.skip.take()) else { return };
        let (index, verdict) = match (outcome, skip) {
            (Outcome::Ok, None) => (0, Verdict::Passed),
            (Outcome::Ok, Some(reason)) => (0, Verdict::Skipped(reason)),
            (Outcome::Failed, _) => (1, Verdict::Failed(String::new())),
            (Outcome::Ignored(reason), _) => (2, Verdict::Skipped(reason)),
        };
        group.counts[index] += 1;
        self.suite.add(name, verdict);
    }

    /// Takes a line of what a test printed, shown after all tests.
    fn output_line(&mut self, line: &str) {
        let Some(Group { first, output_of: Some(name), .. }) = &self.group else { return };
        let Some(test) = self.suite.tests[*first..].iter_mut().find(|test| test.name == *name)
        else {
            return;
        };
        match (&mut test.verdict, line.trim_start().strip_prefix(SKIPPED)) {
            (Verdict::Failed(message), _) if !line.is_empty() => {
                message.push_str(line);
                message.push('\n');
            }
            (verdict @ Verdict::Passed, Some(reason)) => {
                *verdict = Verdict::Skipped(reason.to_owned());
            }
            _ => {}
        }
    }

    /// Ends a group; `result` is the program's own count, empty if it printed none.
    fn close_group(&mut self, result: &str) {
        let Some(group) = self.group.take() else { return };
        if let Some(name) = group.current {
            self.suite.add(name, Verdict::Failed("it did not end".into()));
        }
        match counts(result) {
            None => self.suite.problems.push("the program ended before its tests did".into()),
            Some(said) if said != group.counts => self.suite.problems.push(format!(
                "the program counts {said:?} tests passed, failed and ignored, its output {:?}",
                group.counts
            )),
            Some(_) => {}
        }
    }
}

/// The name in `---- NAME stdout ----` (libtest) or `---- NAME ----` (libtest-mimic).
fn output_heading(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name))
}

fn outcome(text: &str) -> Option<Outcome> {
    // With --report-time the time follows.
    let text = text.split(" <").next().unwrap_or_default().trim();
    if let Some(reason) = text.strip_prefix("ignored") {
        let reason = reason.trim_start_matches(", ").trim();
        let reason = reason.strip_prefix('(').and_then(|r| r.strip_suffix(')')).unwrap_or(reason);
        let reason = reason.strip_prefix(SKIPPED).unwrap_or(reason);
        let reason = if reason.is_empty() { "ignored" } else { reason };
        return Some(Outcome::Ignored(reason.to_owned()));
    }
    match text {
        "ok" => Some(Outcome::Ok),
        "FAILED" => Some(Outcome::Failed),
        _ => None,
    }
}

/// Numbers passed, failed and ignored in `ok. 1 passed; 0 failed; 2 ignored; ...`.
fn counts(result: &str) -> Option<[usize; 3]> {
    let (_, numbers) = result.split_once(". ")?;
    let mut counts = [0; 3];
    for (count, (part, name)) in
        counts.iter_mut().zip(numbers.split("; ").zip(["passed", "failed", "ignored"]))
    {
        *count = part.strip_suffix(name)?.trim().parse().ok()?;
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Suite {
        let mut parser = Parser::new("s");
        text.lines().for_each(|line| parser.line(line));
        parser.finish()
    }

    fn verdicts(suite: &Suite) -> Vec<(&str, &Verdict)> {
        suite.tests.iter().map(|test| (test.name.as_str(), &test.verdict)).collect()
    }

    #[test]
    fn libtest_with_output() {
        let suite = parse(
            "\nrunning 5 tests\n\
             test a::one ... ok\n\
             test a::two ... ignored, needs root\n\
             test a::three ... FAILED\n\
             test src/lib.rs - f (line 3) - compile ... ok\n\
             test a::four - should panic ... ok\n\
             \nsuccesses:\n\n\
             ---- a::one stdout ----\nSKIPPED: no heap\n\n\
             \nsuccesses:\n    a::one\n    a::four\n\
             \nfailures:\n\n\
             ---- a::three stdout ----\n\
             thread 'a::three' panicked at src/x.rs:1:2:\nleft != right\n\n\
             \nfailures:\n    a::three\n\n\
             test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
        );
        assert!(suite.problems.is_empty(), "{:?}", suite.problems);
        assert_eq!(
            verdicts(&suite),
            [
                ("a::one", &Verdict::Skipped("no heap".into())),
                ("a::two", &Verdict::Skipped("needs root".into())),
                (
                    "a::three",
                    &Verdict::Failed(
                        "thread 'a::three' panicked at src/x.rs:1:2:\nleft != right\n".into()
                    )
                ),
                ("src/lib.rs - f (line 3) - compile", &Verdict::Passed),
                ("a::four - should panic", &Verdict::Passed),
            ]
        );
    }

    #[test]
    fn libtest_mimic_one_by_one() {
        let suite = parse(
            "\nrunning 6 tests\n\
             test plain         ... ok\n\
             test talks         ... hello\nand more\nok\n\
             test cannot        ... SKIPPED: no huge pages\nok\n\
             test at_start      ...\nok\n\
             test bad           ... FAILED\n\
             test [k] says_no   ... ignored (SKIPPED: not on this kernel)\n\
             \nfailures:\n\n---- bad ----\ntest panicked: boom\n\n\nfailures:\n    bad\n\
             \ntest result: FAILED. 4 passed; 1 failed; 1 ignored; 0 measured; 2 filtered out; finished in 1.50s\n",
        );
        assert!(suite.problems.is_empty(), "{:?}", suite.problems);
        assert_eq!(
            verdicts(&suite),
            [
                ("plain", &Verdict::Passed),
                ("talks", &Verdict::Passed),
                ("cannot", &Verdict::Skipped("no huge pages".into())),
                ("at_start", &Verdict::Passed),
                ("bad", &Verdict::Failed("test panicked: boom\n".into())),
                ("[k] says_no", &Verdict::Skipped("not on this kernel".into())),
            ]
        );
    }

    #[test]
    fn crash_is_a_failure() {
        let suite = parse("running 3 tests\ntest a ... ok\ntest b ... ");
        assert_eq!(suite.tests.len(), 2);
        assert_eq!(suite.tests[1].verdict, Verdict::Failed("it did not end".into()));
        assert_eq!(suite.problems.len(), 1);
    }

    #[test]
    fn lost_output_is_a_failure() {
        let suite = parse(
            "running 2 tests\ntest a ... ok\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(suite.problems.len(), 1);
    }

    #[test]
    fn several_groups() {
        let result = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n";
        let suite = parse(&format!(
            "running 1 test\ntest a ... ok\n{result}\nrunning 1 test\ntest a ... ok\n{result}"
        ));
        assert_eq!(suite.tests.len(), 2);
        assert!(suite.problems.is_empty());
        assert_eq!(parse("nothing\n"), Suite::new("s"));
    }
}
