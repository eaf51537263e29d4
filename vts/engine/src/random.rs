// SPDX-License-Identifier: Apache-2.0
//! Random writes, truncations and loads, in the manner of fsx: whatever happened to the file, every
//! path loads what a reference copy holds. `$DMABUF_TEST_SEED` repeats a sequence.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use dmabuf_engine::request::{Length, Policy, Segment};
use dmabuf_engine::{ClientId, Engine, EngineError, PathName, PoolConfig};
use dmabuf_uapi::mapping::Mapping;
use libtest_mimic::Trial;
use rustix::fs::OFlags;
use vts_support::files::Files;
use vts_support::outcome::{skip, trial};
use vts_support::pattern::{self, assert_filled, assert_same};

use crate::load::{contents, engine, load, made, new_buffer};
use crate::random_numbers::RandomNumbers;

const OPERATIONS: u64 = 400;
const MAX_FILE_BYTES: u64 = 3 << 20;
const DEFAULT_SEED: u64 = 20_261_125;

pub fn trials() -> Vec<Trial> {
    let more = std::env::var("DMABUF_TEST_MORE_DIRS").unwrap_or_default();
    let mut trials = vec![trial("random", "loads_match_a_reference_copy/data", || {
        let files = Files::new()?;
        run(&files.path(""))
    })];
    for dir in more.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from) {
        let name = format!("loads_match_a_reference_copy{}", dir.display());
        trials.push(trial("random", &name, move || {
            if !dir.is_dir() {
                return Err(skip(format!("no directory {}", dir.display())));
            }
            run(&dir)
        }));
    }
    trials
}

fn seed() -> Result<u64> {
    match std::env::var("DMABUF_TEST_SEED") {
        Ok(text) => text.parse().with_context(|| format!("DMABUF_TEST_SEED={text}")),
        Err(_) => Ok(DEFAULT_SEED),
    }
}

fn run(dir: &Path) -> Result<()> {
    let seed = seed()?;
    let path = dir.join("random");
    let mut test = Random {
        numbers: RandomNumbers::new(seed),
        engine: engine(PoolConfig::of_bytes(16 << 20)),
        writer: open(&path, OFlags::CREATE)?,
        direct: open(&path, OFlags::DIRECT).ok(),
        reference: Vec::new(),
        loads: 0,
        direct_loads: 0,
    };
    for operation in 0..OPERATIONS {
        test.step(operation).with_context(|| format!("seed {seed}, operation {operation}"))?;
    }
    std::fs::remove_file(&path)?;
    println!("INFO: seed {seed}: {} loads, {} of them direct", test.loads, test.direct_loads);
    ensure!(test.loads > OPERATIONS / 4, "only {} loads", test.loads);
    Ok(())
}

fn open(path: &Path, flags: OFlags) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags.bits() as i32);
    options.open(path).with_context(|| format!("opening {} with {flags:?}", path.display()))
}

struct Random {
    numbers: RandomNumbers,
    engine: Engine,
    writer: File,
    /// For writes and loads; `None` on file systems without direct I/O.
    direct: Option<File>,
    /// The expected content of the file.
    reference: Vec<u8>,
    loads: u64,
    direct_loads: u64,
}

impl Random {
    fn step(&mut self, operation: u64) -> Result<()> {
        match self.numbers.below(12) {
            0..=1 => self.write_buffered(operation),
            2 => self.write_direct(operation),
            3 => self.truncate(),
            4 => Ok(self.writer.sync_data()?),
            _ => self.load(),
        }
    }

    fn write_buffered(&mut self, operation: u64) -> Result<()> {
        let offset = self.numbers.place(MAX_FILE_BYTES - 1);
        let len = self.numbers.place((MAX_FILE_BYTES - offset).min(300_000)).max(1);
        let bytes = pattern::bytes(operation, offset, len as usize);
        self.writer.write_all_at(&bytes, offset).context("write")?;
        self.note(offset, &bytes);
        Ok(())
    }

    fn write_direct(&mut self, operation: u64) -> Result<()> {
        let Some(file) = &self.direct else { return Ok(()) };
        let offset = self.numbers.below(MAX_FILE_BYTES / 4096) * 4096;
        let blocks = self.numbers.below((MAX_FILE_BYTES - offset) / 4096).min(63) + 1;
        let len = (blocks * 4096) as usize;
        let bytes = pattern::bytes(operation, offset, len);
        let memory = Mapping::anonymous(len)?;
        memory.write(0, &bytes)?;
        let written = memory.pwrite(0..len, file, offset).context("direct write")?;
        ensure!(written == len, "{written} of {len} bytes written directly");
        self.note(offset, &bytes);
        Ok(())
    }

    /// Truncates the file, or grows it by a hole.
    fn truncate(&mut self) -> Result<()> {
        let len = self.numbers.place(MAX_FILE_BYTES);
        self.writer.set_len(len).context("truncate")?;
        self.reference.resize(len as usize, 0);
        Ok(())
    }

    fn note(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset as usize + bytes.len();
        self.reference.resize(self.reference.len().max(end), 0);
        self.reference[offset as usize..end].copy_from_slice(bytes);
    }

    fn load(&mut self) -> Result<()> {
        let segments = self.segments();
        let end = |segment: &Segment| segment.buffer_offset_bytes + length(segment);
        let size_bytes = segments.iter().map(end).max().unwrap_or(0).max(1);
        let heap = self.numbers.one_of(self.engine.heaps()).name.to_string();
        let policy = match self.numbers.below(3) {
            0 => Policy::AUTO,
            _ => Policy::only(*self.numbers.one_of(&PathName::ALL)),
        };
        let direct = self.direct.as_ref().filter(|_| self.numbers.below(3) > 0);
        let file = direct.unwrap_or(&self.writer);
        let client = ClientId(self.numbers.below(2) as u32);
        let what = format!("{policy:?} {heap} {segments:?}");
        let new = new_buffer(&heap, size_bytes);
        let outcome = match load(&self.engine, client, new, policy, file, &segments) {
            Err(EngineError::PathUnavailable { .. }) => return Ok(()),
            outcome => outcome.with_context(|| what.clone())?,
        };
        self.loads += 1;
        self.direct_loads += u64::from(outcome.report.direct_bytes() > 0);
        let lengths: Vec<u64> = segments.iter().map(|segment| self.available(segment)).collect();
        ensure!(outcome.segment_bytes == lengths, "{what}: {:?}", outcome.segment_bytes);
        let mut bytes = contents(&made(outcome)?)?;
        for (segment, len) in segments.iter().zip(lengths) {
            let (from, to) =
                (segment.file_offset_bytes as usize, segment.buffer_offset_bytes as usize);
            let len = len as usize;
            if len > 0 {
                assert_same(&bytes[to..to + len], &self.reference[from..from + len], &what);
                bytes[to..to + len].fill(0);
            }
        }
        assert_filled(&bytes, 0, &format!("{what}: around the segments"));
        Ok(())
    }

    /// Makes one to six ranges with gaps of any size between their places in the buffer. Their
    /// places in the file may nest, overlap, repeat and touch; small ones that lie close together
    /// are coalesced.
    fn segments(&mut self) -> Vec<Segment> {
        let mut place = 0;
        let count = 1 + self.numbers.below(6);
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        (0..count)
            .map(|_| {
                let (file_offset_bytes, len) = self.range(&ranges);
                ranges.push((file_offset_bytes, len));
                let aligned = self.numbers.below(2) == 0;
                let gap = self.numbers.below(10_000);
                let start = if aligned {
                    (place + gap).next_multiple_of(4096) + file_offset_bytes % 4096
                } else {
                    place + gap
                };
                place = start + len;
                Segment {
                    file_index: 0,
                    file_offset_bytes,
                    length: Length::Bytes(len),
                    buffer_offset_bytes: start,
                }
            })
            .collect()
    }

    /// Returns offset and length of a range of the file, often related to an earlier one.
    fn range(&mut self, earlier: &[(u64, u64)]) -> (u64, u64) {
        let len = match self.numbers.below(2) {
            0 => self.numbers.place(1 << 20),
            _ => self.numbers.place(40_000),
        };
        let (offset, earlier_len) = match earlier {
            [] => return (self.numbers.place(MAX_FILE_BYTES), len),
            some => *self.numbers.one_of(some),
        };
        match self.numbers.below(6) {
            0 => (offset, earlier_len),
            1 => (offset + earlier_len, len),
            2 => (offset + self.numbers.below(earlier_len + 1), len),
            3 => {
                let start = self.numbers.below(earlier_len + 1);
                (offset + start, self.numbers.below(earlier_len - start + 1))
            }
            4 => (offset.saturating_sub(self.numbers.below(50_000)), len),
            _ => (self.numbers.place(MAX_FILE_BYTES), len),
        }
    }

    /// Returns how many bytes of a segment the file has.
    fn available(&self, segment: &Segment) -> u64 {
        let rest = (self.reference.len() as u64).saturating_sub(segment.file_offset_bytes);
        length(segment).min(rest)
    }
}

fn length(segment: &Segment) -> u64 {
    match segment.length {
        Length::Bytes(bytes) => bytes,
        Length::ToEnd => 0,
    }
}
