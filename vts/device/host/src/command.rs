// SPDX-License-Identifier: Apache-2.0
//! Child processes that end with this one, and whose output is kept.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{bail, Context, Result};
use rustix::pipe::{pipe_with, PipeFlags};

/// How many lines of a failed program's log an error quotes.
const LOG_TAIL_LINES: usize = 30;

/// A program that the kernel kills when the thread that started it ends.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command.env("PATH", search_path()).env("LC_ALL", "C");
    command
}

/// Debian keeps file-system tools in sbin, which is not in an ordinary user's path.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// Runs a program to its end and returns its standard output; an error quotes its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end with all its output appended to a log; an error quotes its end.
pub fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}\n{}\n(in {})", log_tail(log)?, log.display());
    }
    Ok(())
}

/// Runs a program to its end, giving each line of both its output streams to `line`.
pub fn run_lines(command: &mut Command, mut line: impl FnMut(&str)) -> Result<ExitStatus> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut child: Child = command
        .stdin(Stdio::null())
        .stdout(write.try_clone()?)
        .stderr(write)
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    // The command keeps its ends of the pipe: without this the last read would never return.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = BufReader::new(File::from(read));
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        line(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
    }
    Ok(child.wait()?)
}

fn log_tail(log: &Path) -> Result<String> {
    let bytes = fs::read(log)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_in_order() {
        let mut lines = Vec::new();
        let status = run_lines(
            command("sh").args(["-c", "echo a; echo b >&2; printf 'c'; exit 3"]),
            |line| lines.push(line.to_owned()),
        )
        .unwrap();
        assert_eq!(lines, ["a", "b", "c"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn errors_quote_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        run_logged(command("sh").args(["-c", "echo fine"]), &log).unwrap();
        let error = run_logged(command("sh").args(["-c", "echo broken >&2; false"]), &log);
        let message = error.unwrap_err().to_string();
        assert!(message.contains("broken"), "{message}");
        assert_eq!(fs::read_to_string(&log).unwrap(), "fine\nbroken\n");
        let error = output(command("sh").args(["-c", "echo why >&2; false"])).unwrap_err();
        assert!(error.to_string().contains("why"));
    }
}
