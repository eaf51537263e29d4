// SPDX-License-Identifier: Apache-2.0
//! Tests that signals and the freezer of cgroups end a large copy within a batch.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use libtest_mimic::Trial;
use rustix::process::{kill_process, Pid, Signal};
use vts_support::outcome::skip;
use vts_support::wait::wait_until;

use crate::buffer::Exporter;
use crate::helper::{copied_by, wait_for_state, Copy, Direction};
use crate::outcome::exporter_trials;
use crate::slow_load::{SlowLoad, LOADED_BYTES};

/// The largest batch that a kernel may use.
const LARGEST_BATCH_BYTES: usize = 64 << 20;

const PATIENCE: Duration = Duration::from_secs(20);

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "signal",
        &[
            ("sigkill_ends_a_copy", sigkill_ends_a_copy),
            ("a_stop_makes_a_copy_short", a_stop_makes_a_copy_short),
            ("the_freezer_makes_a_copy_short", the_freezer_makes_a_copy_short),
        ],
    )
}

/// Starts a slow load in another process and waits for it to begin.
fn start(slow: &SlowLoad) -> Result<Child> {
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
    Ok(child)
}

fn sigkill_ends_a_copy(exporter: Exporter) -> Result<()> {
    let slow = SlowLoad::new(exporter)?;
    let mut child = start(&slow)?;
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

/// Checks what a copy that was ended early returned and loaded.
fn assert_short(slow: &SlowLoad, child: Child) -> Result<()> {
    let copied = copied_by(child)?.context("a short copy is not an error")?;
    assert!(0 < copied && copied < LOADED_BYTES, "{copied} of {LOADED_BYTES} bytes were copied");
    assert_eq!(slow.loaded_bytes()?, copied, "bytes in the buffer");
    Ok(())
}

fn a_stop_makes_a_copy_short(exporter: Exporter) -> Result<()> {
    let slow = SlowLoad::new(exporter)?;
    let child = start(&slow)?;
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP)?;
    // A process that goes on before it stops would ignore both signals.
    let stopped = wait_for_state(&child, 'T');
    kill_process(pid, Signal::CONT)?;
    stopped?;
    assert_short(&slow, child)
}

/// A cgroup whose processes can be frozen.
struct Freezer {
    dir: PathBuf,
}

impl Freezer {
    fn new() -> Result<Self> {
        let dir = Path::new("/sys/fs/cgroup/dmabuf_freezer").to_owned();
        match std::fs::create_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(|error| skip(format!("no cgroup can be made: {error}")))?,
        }
        if !dir.join("cgroup.freeze").exists() {
            return Err(skip("the cgroups have no freezer"));
        }
        Ok(Self { dir })
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.dir.join(file);
        std::fs::write(&path, text).with_context(|| format!("writing {text} to {path:?}"))
    }

    fn wait_until_frozen(&self) -> Result<()> {
        let look = || Ok(std::fs::read_to_string(self.dir.join("cgroup.events"))?);
        wait_until(PATIENCE, "the cgroup freezes", look, |events| events.contains("frozen 1"))
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = self.write("cgroup.freeze", "0");
        if let Err(error) = std::fs::remove_dir(&self.dir) {
            eprintln!("{:?} cannot be removed: {error}", self.dir);
        }
    }
}

fn the_freezer_makes_a_copy_short(exporter: Exporter) -> Result<()> {
    let slow = SlowLoad::new(exporter)?;
    let freezer = Freezer::new()?;
    let child = start(&slow)?;
    freezer.write("cgroup.procs", &child.id().to_string())?;
    freezer.write("cgroup.freeze", "1")?;
    let frozen = freezer.wait_until_frozen();
    let loaded = slow.loaded_bytes();
    freezer.write("cgroup.freeze", "0")?;
    frozen?;
    assert_ne!(loaded?, LOADED_BYTES, "the process froze only after its copy");
    assert_short(&slow, child)
}
