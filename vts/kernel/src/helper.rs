// SPDX-License-Identifier: Apache-2.0
//! This binary started as a second process, for tests that change limits of the process or kill it.
//!
//! One file of the copy, mostly a dma-buf, is passed as standard input.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{bail, Context, Result};
use dmabuf_uapi::copy_file_range::copy_file_range;
use rustix::process::{getrlimit, setrlimit, Resource};

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
