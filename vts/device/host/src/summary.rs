// SPDX-License-Identifier: Apache-2.0
//! The summary of all results, printed at the end.

use std::fmt::Write;

use crate::results::{Suite, Totals, Verdict};

/// The results in full: a table, why tests were skipped, how tests failed, and the totals as the
/// last line.
pub fn summary(suites: &[Suite]) -> String {
    let mut text = table(suites);
    for suite in suites {
        for test in &suite.tests {
            if let Verdict::Skipped(reason) = &test.verdict {
                let _ = writeln!(text, "SKIPPED: {} {}: {reason}", suite.name, test.name);
            }
        }
    }
    for suite in suites {
        for test in &suite.tests {
            if let Verdict::Failed(message) = &test.verdict {
                let _ = writeln!(text, "FAILED: {} {}", suite.name, test.name);
                text.push_str(&indented(message));
            }
        }
        for problem in &suite.problems {
            let _ = writeln!(text, "FAILED: {}", suite.name);
            text.push_str(&indented(problem));
        }
    }
    let Totals { passed, failed, skipped } = Totals::of(suites);
    let _ = write!(text, "vts: {passed} passed, {failed} failed, {skipped} skipped");
    text
}

/// One suite's totals as a line.
pub fn line(suite: &Suite) -> String {
    let Totals { passed, failed, skipped } = suite.totals();
    let time = suite.duration.map_or(String::new(), |d| format!(" in {:.1} s", d.as_secs_f64()));
    format!("  {}: {passed} passed, {failed} failed, {skipped} skipped{time}", suite.name)
}

fn table(suites: &[Suite]) -> String {
    let width = suites.iter().map(|suite| suite.name.chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "\n{:width$}  {:>6}  {:>6}  {:>7}  {:>8}\n",
        "suite", "passed", "failed", "skipped", "time"
    );
    for suite in suites {
        let Totals { passed, failed, skipped } = suite.totals();
        let time = suite.duration.map_or(String::new(), |d| format!("{:.1} s", d.as_secs_f64()));
        let _ = writeln!(
            text,
            "{:width$}  {passed:>6}  {failed:>6}  {skipped:>7}  {time:>8}",
            suite.name
        );
    }
    text.push('\n');
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn totals_are_the_last_line() {
        let mut one = Suite::new("a long name");
        one.add("x", Verdict::Passed);
        one.add("y", Verdict::Skipped("no heap".into()));
        one.duration = Some(Duration::from_millis(1250));
        let mut two = Suite::new("b");
        two.add("z", Verdict::Failed("left\nright\n".into()));
        two.problems.push("crash".into());
        assert_eq!(line(&one), "  a long name: 1 passed, 0 failed, 1 skipped in 1.2 s");
        assert_eq!(line(&two), "  b: 0 passed, 2 failed, 0 skipped");
        let text = summary(&[one, two]);
        assert_eq!(
            text,
            "\n\
             suite        passed  failed  skipped      time\n\
             a long name       1       0        1     1.2 s\n\
             b                 0       2        0          \n\
             \n\
             SKIPPED: a long name y: no heap\n\
             FAILED: b z\n    left\n    right\n\
             FAILED: b\n    crash\n\
             vts: 1 passed, 2 failed, 1 skipped"
        );
        assert!(summary(&[]).ends_with("\nvts: 0 passed, 0 failed, 0 skipped"));
    }
}
