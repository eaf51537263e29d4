// SPDX-License-Identifier: Apache-2.0
//! Init's own log and the output of services go to the kernel log, and so to the console.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;

use anyhow::{Context, Result};

/// The kernel cuts a record at about 1000 bytes, prefix included.
const RECORD_TEXT_BYTES: usize = 900;

static KMSG: OnceLock<Option<File>> = OnceLock::new();

/// Init talks through the kernel log; its own streams lead nowhere, as on Android.
pub fn detach_streams() -> Result<()> {
    let null =
        OpenOptions::new().read(true).write(true).open("/dev/null").context("opening /dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Logs a line of init.
pub fn info(text: &str) {
    record(6, "init", text);
}

/// Logs an error of init.
pub fn error(text: &str) {
    record(3, "init", text);
}

/// Logs a line that a service printed.
pub fn service(name: &str, text: &str) {
    record(6, name, text);
}

fn record(priority: u8, tag: &str, text: &str) {
    let kmsg = KMSG.get_or_init(|| OpenOptions::new().write(true).open("/dev/kmsg").ok());
    for line in text.lines() {
        let mut rest = line;
        loop {
            let (piece, next) = rest.split_at(piece_end(rest));
            let written = kmsg
                .as_ref()
                .is_some_and(|mut file| writeln_at_once(&mut file, priority, tag, piece));
            if !written {
                // Not eprintln, which panics if it cannot write.
                let _ = writeln!(std::io::stderr(), "{tag}: {piece}");
            }
            rest = next;
            if rest.is_empty() {
                break;
            }
        }
    }
}

/// Where to cut a text that may be too long for one record.
fn piece_end(text: &str) -> usize {
    (0..=text.len().min(RECORD_TEXT_BYTES))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or_default()
}

/// One write call is one record.
fn writeln_at_once(file: &mut impl Write, priority: u8, tag: &str, text: &str) -> bool {
    file.write_all(format!("<{priority}>{tag}: {text}\n").as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_between_characters() {
        assert_eq!(piece_end(""), 0);
        assert_eq!(piece_end("abc"), 3);
        let long = format!("{}\u{e9}", "a".repeat(RECORD_TEXT_BYTES - 1));
        assert_eq!(piece_end(&long), RECORD_TEXT_BYTES - 1);
    }
}
