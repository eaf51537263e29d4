// SPDX-License-Identifier: Apache-2.0
//! The tests that need no device: `cargo test` of the whole workspace.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::command::{command, run_lines};
use crate::files;
use crate::guest::cargo;
use crate::libtest::Parser;
use crate::progress::Progress;
use crate::results::{Suite, Totals};
use crate::workspace::Workspace;

/// How long the random test of the engine runs; by itself it runs shorter.
const RANDOM_TEST_SECONDS: &str = "DMABUF_TEST_SECONDS";

/// Runs the tests whose names contain `filter`.
pub fn run(workspace: &Workspace, progress: &Progress, filter: Option<&str>) -> Result<Vec<Suite>> {
    let phase = progress.phase("host tests");
    let log = workspace.host_dir()?.join("vts.log");
    let mut log_file = files::create(&log)?;
    let mut cargo = command(cargo());
    cargo.current_dir(workspace.root()).args(["test", "--workspace", "--no-fail-fast"]);
    if std::env::var_os(RANDOM_TEST_SECONDS).is_none() {
        cargo.env(RANDOM_TEST_SECONDS, "60");
    }
    cargo.args(filter);
    // A test that cannot run prints why, and the output of passed tests is hidden by default.
    cargo.args(["--", "--show-output"]);

    let mut suites = Suites::default();
    let mut logged = Ok(());
    let status = run_lines(&mut cargo, |line| {
        phase.detail(line);
        logged = std::mem::replace(&mut logged, Ok(())).and_then(|()| writeln!(log_file, "{line}"));
        suites.line(line);
    })?;
    logged.with_context(|| format!("cannot write {}", log.display()))?;
    let mut suites = suites.finish();
    if !status.success() && Totals::of(&suites).failed == 0 {
        let mut suite = Suite::new("host: cargo test");
        suite.problems.push(format!("{status}; see {}", log.display()));
        suites.push(suite);
    }
    Ok(suites)
}

/// Splits cargo's output into the test programs it runs.
#[derive(Debug, Default)]
struct Suites {
    done: Vec<Suite>,
    running: Option<(Parser, Instant)>,
}

impl Suites {
    fn line(&mut self, line: &str) {
        if let Some(name) = heading(line) {
            self.close();
            self.running = Some((Parser::new(format!("host: {name}")), Instant::now()));
        } else if let Some((parser, _)) = &mut self.running {
            parser.line(line);
        }
    }

    fn close(&mut self) {
        if let Some((parser, started)) = self.running.take() {
            let mut suite = parser.finish();
            suite.duration = Some(started.elapsed());
            if suite.totals() != Totals::default() {
                self.done.push(suite);
            }
        }
    }

    fn finish(mut self) -> Vec<Suite> {
        self.close();
        self.done
    }
}

/// What cargo says before each test program: `Running unittests src/lib.rs (PATH/NAME-HASH)` or
/// `Doc-tests NAME`.
fn heading(line: &str) -> Option<String> {
    let line = line.strip_prefix("   ")?.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} (documentation)"));
    }
    let (source, path) = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once(" (")?;
    let (name, _) = path.rsplit_once('/')?.1.rsplit_once('-')?;
    match source.strip_prefix("tests/") {
        Some(test) => Some(format!("{name} ({test})")),
        None => Some(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_apart() {
        let mut suites = Suites::default();
        let text = "   Compiling x v0.1.0\n\
             \x20    Running unittests src/lib.rs (target/debug/deps/dmabuf_engine-0123abc)\n\
             \n\
             running 1 test\n\
             test a ... ok\n\
             \n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
             \n\
             \x20    Running unittests src/main.rs (target/debug/deps/vts_hal-0123abc)\n\
             \n\
             running 0 tests\n\
             \n\
             test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
             \n\
             \x20  Doc-tests dmabuf_engine\n\
             \n\
             running 1 test\n\
             test src/lib.rs - f (line 3) ... FAILED\n\
             \n\
             test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";
        text.lines().for_each(|line| suites.line(line));
        let suites = suites.finish();
        let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["host: dmabuf_engine", "host: dmabuf_engine (documentation)"]);
        assert_eq!(Totals::of(&suites), Totals { passed: 1, failed: 1, skipped: 0 });
    }

    #[test]
    fn headings() {
        assert_eq!(
            heading("     Running tests/rpc.rs (target/debug/deps/rpc-1f)").as_deref(),
            Some("rpc (rpc.rs)")
        );
        assert_eq!(heading("   Compiling a (b/c-d)"), None);
        assert_eq!(heading("Running x"), None);
    }
}
