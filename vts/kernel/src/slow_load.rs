// SPDX-License-Identifier: Apache-2.0
//! A load that takes long enough for other actions to happen meanwhile, and whose progress can be
//! read.
//!
//! It loads a hole: the kernel zeroes the buffer from front to back, without disk and page cache. A
//! mark in each MiB of the buffer shows the progress, so tests do not depend on a clock.

use std::fs::File;
use std::thread;

use anyhow::{bail, Result};
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::Errno;
use vts_support::files::{Files, TestFile};

use crate::buffer::{require_available_memory, Buffer, Exporter};

const MIB: usize = 1 << 20;
const MARK: u8 = 0x5a;
/// The part of the buffer that the slow load fills.
pub const LOADED_BYTES: usize = 256 * MIB;
/// The part of the buffer after it, which tests may use.
pub const SPARE_BYTES: usize = MIB;
/// The load may end before the other action does, seldom more than once in a row.
const ATTEMPTS: usize = 10;

/// The buffer and the file of slow loads.
pub struct SlowLoad {
    buffer: Buffer,
    memory: Mapping,
    hole: TestFile,
    _files: Files,
}

impl SlowLoad {
    /// Makes the buffer and the file.
    pub fn new(exporter: Exporter) -> Result<Self> {
        let size = LOADED_BYTES + SPARE_BYTES;
        require_available_memory((size / MIB) as u64 + 256)?;
        let buffer = Buffer::new(exporter, size)?;
        let memory = Mapping::shared(&buffer, size, MappingAccess::ReadWrite)?;
        let files = Files::new()?;
        let hole = files.hole("hole", LOADED_BYTES as u64)?;
        Ok(Self { buffer, memory, hole, _files: files })
    }

    /// Returns the buffer, which holds [`LOADED_BYTES`] and then [`SPARE_BYTES`].
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Returns the file, [`LOADED_BYTES`] long.
    pub fn file(&self) -> &TestFile {
        &self.hole
    }

    /// Writes the marks that a load overwrites.
    pub fn mark(&self) -> Result<()> {
        for offset in (0..LOADED_BYTES).step_by(MIB) {
            self.memory.write(offset + MIB - 1, &[MARK])?;
        }
        Ok(())
    }

    /// Returns how many bytes are loaded, rounded down to MiB.
    pub fn loaded_bytes(&self) -> Result<usize> {
        for offset in (0..LOADED_BYTES).step_by(MIB) {
            if self.is_marked(offset)? {
                return Ok(offset);
            }
        }
        Ok(LOADED_BYTES)
    }

    /// Whether the load has not yet reached the MiB at `offset_bytes`.
    fn is_marked(&self, offset_bytes: usize) -> Result<bool> {
        let mut mark = [0];
        self.memory.read(offset_bytes + MIB - 1, &mut mark)?;
        Ok(mark[0] == MARK)
    }

    /// Waits until the load has begun, or until `ended` returns true.
    pub fn wait_for_start(&self, mut ended: impl FnMut() -> bool) -> Result<()> {
        while self.is_marked(0)? && !ended() {
            thread::yield_now();
        }
        Ok(())
    }

    /// Calls `action` while a load is in progress: the load begins before it and ends after it.
    pub fn meanwhile<T>(&self, mut action: impl FnMut(&Buffer) -> Result<T>) -> Result<T> {
        let file = self.hole.direct()?;
        for _ in 0..ATTEMPTS {
            self.mark()?;
            let (outcome, in_time, loaded) = thread::scope(|scope| {
                let load = scope.spawn(|| self.load(&file));
                self.wait_for_start(|| load.is_finished())?;
                let outcome = action(&self.buffer);
                let in_time = self.is_marked(LOADED_BYTES - MIB)?;
                anyhow::Ok((outcome, in_time, load.join()))
            })?;
            match loaded {
                Ok(loaded) => assert_eq!(loaded, Ok(LOADED_BYTES), "the slow load"),
                Err(_) => bail!("the slow load panicked"),
            }
            assert_eq!(self.loaded_bytes()?, LOADED_BYTES, "bytes the slow load wrote");
            if in_time {
                return outcome;
            }
        }
        bail!("in {ATTEMPTS} attempts the load of {LOADED_BYTES} bytes always ended first")
    }

    fn load(&self, file: &File) -> Result<usize, Errno> {
        self.buffer.load(file, 0, 0, LOADED_BYTES)
    }
}
