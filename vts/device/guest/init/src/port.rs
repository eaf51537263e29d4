// SPDX-License-Identifier: Apache-2.0
//! The virtio-serial port that carries the report to the host.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result};
use vts_init::report::{Event, REPORT_PORT};

static PORT: OnceLock<Mutex<File>> = OnceLock::new();

/// The device node of the port; the kernel numbers ports, the name is an attribute.
pub fn node() -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    ports.flatten().find_map(|entry| {
        let name = fs::read_to_string(entry.path().join("name")).ok()?;
        (name.trim() == REPORT_PORT).then(|| PathBuf::from("/dev").join(entry.file_name()))
    })
}

/// Opens the port; false if the machine has no such port.
pub fn open() -> Result<bool> {
    if PORT.get().is_some() {
        return Ok(true);
    }
    let Some(node) = node() else { return Ok(false) };
    let file = OpenOptions::new()
        .write(true)
        .open(&node)
        .with_context(|| format!("opening the report port {}", node.display()))?;
    PORT.get_or_init(|| Mutex::new(file));
    Ok(true)
}

/// Sends an event; does nothing if no port is open.
pub fn send(event: &Event) -> Result<()> {
    let Some(port) = PORT.get() else { return Ok(()) };
    let line = event.to_line()?;
    let mut file = port.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    file.write_all(line.as_bytes()).context("writing the report")
}
