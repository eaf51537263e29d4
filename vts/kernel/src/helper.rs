// SPDX-License-Identifier: Apache-2.0
//! This binary started as a second process, for tests that change limits of the process or kill it.
//!
//! One file of the copy, mostly a dma-buf, is passed as standard input.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::Errno;
use rustix::process::{getrlimit, setrlimit, Resource};
use vts_support::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(20);

/// First argument of the helper process.
pub const FLAG: &str = "--helper";

/// A copy that the helper makes, at the same offset in both files.
pub struct Copy<'a> {
    /// The direction: load or save.
    pub direction: Direction,
    /// The path that the helper opens.
    pub file: &'a Path,
    /// The offset in both files, in bytes.
    pub offset_bytes: u64,
    /// The length, in bytes.
    pub len_bytes: usize,
    /// The limit on file sizes (`RLIMIT_FSIZE`) that the process sets, in bytes.
    pub file_size_limit_bytes: Option<u64>,
}

/// The direction of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the opened path into standard input.
    Load,
    /// From standard input into the opened path.
    Save,
}

impl Copy<'_> {
    /// The command that starts the helper. The helper prints the count copied, or `errno N`.
    pub fn command(&self, other_side: impl AsFd) -> Result<Command> {
        let direction = match self.direction {
            Direction::Load => "load",
            Direction::Save => "save",
        };
        let limit = self.file_size_limit_bytes.map_or("none".to_owned(), |limit| limit.to_string());
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([FLAG, direction])
            .arg(self.file)
            .args([self.offset_bytes.to_string(), self.len_bytes.to_string(), limit])
            .stdin(Stdio::from(other_side.as_fd().try_clone_to_owned()?))
            .stdout(Stdio::piped());
        Ok(command)
    }
}

/// Waits until the helper is in a state of `/proc/PID/stat`, for example `T`, stopped.
pub fn wait_for_state(helper: &Child, state: char) -> Result<()> {
    let stat = format!("/proc/{}/stat", helper.id());
    let look = || Ok(std::fs::read_to_string(&stat)?);
    wait_until(PATIENCE, &stat, look, |text| text.contains(&format!(") {state} ")))
}

/// Waits for the helper to end and returns what its copy returned.
pub fn copied_by(helper: Child) -> Result<Result<usize, Errno>> {
    let output = helper.wait_with_output()?;
    ensure!(output.status.success(), "the helper ended with {}", output.status);
    let line = String::from_utf8(output.stdout)?;
    Ok(match line.trim().strip_prefix("errno ") {
        Some(errno) => Err(Errno::from_raw_os_error(errno.parse()?)),
        None => Ok(line.trim().parse()?),
    })
}

/// The main function of the helper process.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    match run(&arguments.collect::<Vec<_>>()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String> {
    let [direction, path, offset, len, limit] = arguments else {
        bail!("helper arguments: {arguments:?}");
    };
    let (offset, len) = (offset.parse()?, len.parse()?);
    let load = direction == "load";
    let file: File = OpenOptions::new()
        .read(load)
        .write(!load)
        .open(path)
        .with_context(|| format!("opening {path}"))?;
    if let Ok(limit) = limit.parse() {
        let mut limits = getrlimit(Resource::Fsize);
        limits.current = Some(limit);
        setrlimit(Resource::Fsize, limits)?;
    }
    let stdin = std::io::stdin();
    let other_side = stdin.as_fd();
    let copied = if load {
        copy_file_range(&file, offset, other_side, offset, len)
    } else {
        copy_file_range(other_side, offset, &file, offset, len)
    };
    Ok(match copied {
        Ok(count) => count.to_string(),
        Err(errno) => format!("errno {}", errno.raw_os_error()),
    })
}
