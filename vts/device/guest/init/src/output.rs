// SPDX-License-Identifier: Apache-2.0
//! Programs whose output comes as messages, line by line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result};
use vts_init::report::Stream;

use crate::launch::{self, Spec};
use crate::message::{Message, Source};

/// A longer line is sent in pieces.
const LINE_BYTES: u64 = 64 * 1024;

/// Starts a program whose output lines come as messages from `source`; returns its process id.
pub fn launch(
    messages: &SyncSender<Message>,
    source: Source,
    spec: &Spec,
    argv: &[String],
    env: &BTreeMap<String, String>,
) -> Result<u32> {
    let mut child = launch::spawn(spec, argv, env)?;
    let pid = child.id();
    if let Some(stdout) = child.stdout.take() {
        read_lines(messages.clone(), source, Stream::Stdout, stdout)?;
    }
    if let Some(stderr) = child.stderr.take() {
        read_lines(messages.clone(), source, Stream::Stderr, stderr)?;
    }
    Ok(pid)
}

fn read_lines(
    messages: SyncSender<Message>,
    source: Source,
    stream: Stream,
    pipe: impl Read + Send + 'static,
) -> Result<()> {
    std::thread::Builder::new()
        .name("output".into())
        .spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while let Ok(1..) = reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
                let text = text.into_owned();
                // The receiver lives as long as init.
                let _ = messages.send(Message::Line { source, stream, text });
                line.clear();
            }
            let _ = messages.send(Message::Closed { source });
        })
        .context("starting an output reader")?;
    Ok(())
}
