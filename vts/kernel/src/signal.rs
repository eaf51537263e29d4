// SPDX-License-Identifier: Apache-2.0
//! Tests that a fatal signal ends a large copy within a batch.

use std::os::unix::process::ExitStatusExt;

use anyhow::Result;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::buffer::Exporter;
use crate::helper::{Copy, Direction};
use crate::outcome::exporter_trials;
use crate::slow_load::{SlowLoad, LOADED_BYTES};

/// The largest batch that a kernel may use.
const LARGEST_BATCH_BYTES: usize = 64 << 20;

pub fn trials() -> Vec<Trial> {
    exporter_trials("signal", &[("sigkill_ends_a_copy", sigkill_ends_a_copy)])
}

fn sigkill_ends_a_copy(exporter: Exporter) -> Result<()> {
    let slow = SlowLoad::new(exporter)?;
    slow.mark()?;
    let copy = Copy {
        direction: Direction::Load,
        file: slow.file().path(),
        offset_bytes: 0,
        len_bytes: LOADED_BYTES,
        file_size_limit_bytes: None,
    };
    let mut child = copy.command(slow.buffer())?.spawn()?;
    slow.wait_for_start(|| !matches!(child.try_wait(), Ok(None)))?;
    child.kill()?;
    // The signal is pending now, so the current batch began before this line.
    let at_kill = slow.loaded_bytes()?;
    let status = child.wait()?;
    let at_end = slow.loaded_bytes()?;

    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    assert_ne!(at_end, LOADED_BYTES, "the copy ran to its end");
    assert!(
        at_end - at_kill <= LARGEST_BATCH_BYTES,
        "{} bytes were copied after the signal",
        at_end - at_kill
    );
    // The killed copy leaves the buffer usable: neither a lock nor a count stays held.
    let file = slow.file().direct()?;
    assert_eq!(slow.buffer().load(&file, 0, 0, LOADED_BYTES)?, LOADED_BYTES);
    assert_eq!(slow.loaded_bytes()?, LOADED_BYTES);
    Ok(())
}
