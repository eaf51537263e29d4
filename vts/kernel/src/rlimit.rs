// SPDX-License-Identifier: Apache-2.0
//! Tests of `RLIMIT_FSIZE`, which limits files but not dma-bufs.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use anyhow::Result;
use libtest_mimic::Trial;
use rustix::process::Signal;
use vts_support::files::{Files, Mode};
use vts_support::pattern::assert_same;

use crate::buffer::{Buffer, Exporter};
use crate::helper::{Copy, Direction};
use crate::outcome::exporter_trials;

const SIZE_BYTES: usize = 1 << 20;

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "rlimit",
        &[
            ("a_load_is_not_limited", a_load_is_not_limited),
            ("a_save_is_cut_to_the_limit", a_save_is_cut_to_the_limit),
            ("a_save_after_the_limit_is_refused", a_save_after_the_limit_is_refused),
        ],
    )
}

/// Returns the line that the helper printed, or the signal that killed it.
fn copy(
    buffer: &Buffer,
    direction: Direction,
    file: &Path,
    offset_bytes: u64,
    limit_bytes: u64,
) -> Result<Result<String, i32>> {
    let file_size_limit_bytes = Some(limit_bytes);
    let copy = Copy { direction, file, offset_bytes, len_bytes: SIZE_BYTES, file_size_limit_bytes };
    let output = copy.command(buffer)?.output()?;
    Ok(match output.status.signal() {
        Some(signal) => Err(signal),
        None => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
    })
}

fn a_load_is_not_limited(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 61, SIZE_BYTES as u64)?;
    for (limit, offset) in [(0, 0), (4096, 0), (4096, 4096), (4096, 65_536)] {
        let buffer = Buffer::new(exporter, SIZE_BYTES)?;
        let len = SIZE_BYTES - offset;
        let line = copy(&buffer, Direction::Load, source.path(), offset as u64, limit)?;
        assert_eq!(line, Ok(len.to_string()), "limit {limit}, offset {offset}");
        let expected = source.expected(offset as u64, len);
        assert_same(&buffer.bytes(offset, len)?, &expected, "loaded");
    }
    Ok(())
}

fn a_save_is_cut_to_the_limit(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let path = files.path("out");
    let output = Mode::Buffered.open_output(&path)?;
    let buffer = Buffer::filled(exporter, SIZE_BYTES, 7)?;
    let line = copy(&buffer, Direction::Save, &path, 4096, 65_536)?;
    assert_eq!(line, Ok((65_536 - 4096).to_string()));
    assert_eq!(output.metadata()?.len(), 65_536);
    Ok(())
}

fn a_save_after_the_limit_is_refused(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let path = files.path("out");
    let output = Mode::Buffered.open_output(&path)?;
    let buffer = Buffer::filled(exporter, SIZE_BYTES, 7)?;
    let line = copy(&buffer, Direction::Save, &path, 65_536, 65_536)?;
    assert_eq!(line, Err(Signal::XFSZ.as_raw()));
    assert_eq!(output.metadata()?.len(), 0);
    Ok(())
}
