// SPDX-License-Identifier: Apache-2.0
//! Tests of files that shrink and grow while they are loaded: a load returns what the file held,
//! and never what lies behind its end on the disk.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use dmabuf_engine::request::{Length, Policy, Segment};
use dmabuf_engine::{ClientId, Engine, EngineError, LoadOutcome, PathName, PoolConfig};
use libtest_mimic::Trial;
use vts_support::files::{Files, Mode, TestFile};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::{self, assert_filled, assert_same};

use crate::load::{contents, engine, load, made, new_buffer};
use crate::random_numbers::RandomNumbers;

const CLIENT: ClientId = ClientId(1000);
const HEAPS: [&str; 2] = ["system", "udmabuf"];
const SIZE_BYTES: u64 = (8 << 20) + 1234;
/// Large enough for several calls in flight.
const LARGE_BYTES: u64 = (64 << 20) + 1234;
/// The file never becomes shorter than this.
const STABLE_BYTES: u64 = (1 << 20) + 77;
/// Bytes per write when the file grows.
const CHUNK_BYTES: u64 = 256 << 10;
const SEED: u64 = 61;
/// Loads at least this many times, and until as many loads have overlapped a change.
const LOADS: u64 = 10;
/// The same, for the large file.
const LARGE_LOADS: u64 = 4;
/// The most bytes that are rewritten after the large file was truncated: few, so that each load
/// overlaps several truncations.
const LARGE_REWRITTEN_BYTES: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

pub fn trials() -> Vec<Trial> {
    let policies = [
        ("auto", Policy::AUTO),
        ("require_direct", Policy::REQUIRE_DIRECT),
        ("copy_file_range", Policy::only(PathName::CopyFileRange)),
        ("udmabuf_direct", Policy::only(PathName::UdmabufDirect)),
        ("bounce", Policy::only(PathName::Bounce)),
        ("buffered", Policy::only(PathName::Buffered)),
    ];
    let small = policies.into_iter().flat_map(|(name, policy)| {
        HEAPS.map(|heap| {
            let case = Case {
                policy,
                heap,
                size_bytes: SIZE_BYTES,
                rewritten_bytes: SIZE_BYTES,
                loads: LOADS,
            };
            (format!("{name}/{heap}"), case)
        })
    });
    let large = [
        ("large/system", "system", PathName::CopyFileRange),
        ("large/udmabuf", "udmabuf", PathName::UdmabufDirect),
        ("large/buffered", "system", PathName::Buffered),
    ];
    let large = large.into_iter().map(|(name, heap, path)| {
        let policy = Policy::only(path);
        let case = Case {
            policy,
            heap,
            size_bytes: LARGE_BYTES,
            rewritten_bytes: LARGE_REWRITTEN_BYTES,
            loads: LARGE_LOADS,
        };
        (name.to_owned(), case)
    });
    small
        .chain(large)
        .map(|(name, case)| {
            trial("changing_files", &name, move || loads_while_the_file_changes(case))
        })
        .collect()
}

/// The policy, the heap and the sizes of a test.
#[derive(Clone, Copy)]
struct Case {
    policy: Policy,
    heap: &'static str,
    size_bytes: u64,
    /// The most bytes that are rewritten after a truncation.
    rewritten_bytes: u64,
    /// Loads at least this many times, and until as many loads have overlapped a change.
    loads: u64,
}

fn loads_while_the_file_changes(case: Case) -> Result<()> {
    let engine = engine(PoolConfig::OFF);
    let files = Files::new()?;
    // The blocks of a deleted file lie behind the ends of the next one.
    let former = files.path("former");
    std::fs::write(&former, vec![pattern::UNTOUCHED; 2 * case.size_bytes as usize])?;
    File::open(&former)?.sync_all()?;
    std::fs::remove_file(&former)?;

    let file = files.patterned("f", SEED, case.size_bytes)?;
    let changes = Changes { case, stop: AtomicBool::new(false), count: AtomicU64::new(0) };
    let (met, changed) = std::thread::scope(|scope| {
        let changer = scope.spawn(|| changes.make(&file));
        // A failed assertion ends the other thread, too.
        let stop = Stop(&changes.stop);
        let met = load_often(&engine, case, &file, &changes);
        drop(stop);
        (met, changer.join())
    });
    changed.map_err(|_| anyhow::anyhow!("the thread that changes the file panicked"))??;
    let met = met?;
    println!("INFO: {met} loads overlapped a change of the file");
    Ok(())
}

/// Loads the file in both modes until enough loads have overlapped a change; returns their number.
fn load_often(engine: &Engine, case: Case, file: &TestFile, changes: &Changes) -> Result<u64> {
    let Case { policy, heap, size_bytes, loads, .. } = case;
    let deadline = Instant::now() + PATIENCE;
    let mut met = 0;
    for number in 0.. {
        let mode = Mode::ALL[number as usize % Mode::ALL.len()];
        let source = file.open(mode)?;
        let segment = Segment {
            file_index: 0,
            file_offset_bytes: 0,
            length: Length::Bytes(size_bytes),
            buffer_offset_bytes: 0,
        };
        let new = new_buffer(heap, size_bytes);
        let before = changes.count.load(Ordering::Relaxed);
        let outcome = match load(engine, CLIENT, new, policy, &source, &[segment]) {
            Err(
                error @ (EngineError::PathUnavailable { .. }
                | EngineError::DirectIoUnavailable { .. }),
            ) if number == 0 => return Err(skip(error.to_string())),
            outcome => outcome.with_context(|| format!("load {number}, file opened {mode:?}"))?,
        };
        met += u64::from(changes.count.load(Ordering::Relaxed) > before);
        check(outcome, &format!("load {number}, file opened {mode:?}"))?;
        if number >= loads && met >= loads {
            break;
        }
        ensure!(Instant::now() < deadline, "{met} of {number} loads overlapped a change");
    }
    Ok(met)
}

/// The bytes that the file always had must be loaded. Of the others, each is the file's old byte or
/// zero; after the loaded bytes every byte is zero.
fn check(outcome: LoadOutcome, what: &str) -> Result<()> {
    let loaded = outcome.segment_bytes.iter().sum::<u64>() as usize;
    let stable = STABLE_BYTES as usize;
    ensure!(loaded >= stable, "{what}: {loaded} bytes, the file never had less than {stable}");
    let bytes = contents(&made(outcome)?)?;
    let expected = pattern::bytes(SEED, 0, loaded);
    assert_same(&bytes[..stable], &expected[..stable], what);
    let foreign = bytes[stable..loaded]
        .iter()
        .zip(&expected[stable..])
        .position(|(byte, old)| byte != old && *byte != 0);
    if let Some(at) = foreign.map(|at| at + stable) {
        panic!(
            "{what}: byte {at} of {loaded} is {:#04x}, not {:#04x} or 0",
            bytes[at], expected[at]
        );
    }
    assert_filled(&bytes[loaded..], 0, &format!("{what}: from byte {loaded} on"));
    Ok(())
}

/// Sets the flag when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Changes {
    case: Case,
    stop: AtomicBool,
    count: AtomicU64,
}

impl Changes {
    /// Truncates the file and grows it again, by a hole or by its old content, until `stop` is set.
    fn make(&self, file: &TestFile) -> Result<()> {
        let writer = OpenOptions::new().write(true).open(file.path())?;
        let mut numbers = RandomNumbers::new(SEED);
        let Case { size_bytes, rewritten_bytes, .. } = self.case;
        while !self.stop.load(Ordering::Relaxed) {
            let len = STABLE_BYTES + numbers.below(size_bytes - STABLE_BYTES);
            writer.set_len(len).context("truncate")?;
            self.count.fetch_add(1, Ordering::Relaxed);
            let rewritten_end = len.saturating_add(rewritten_bytes);
            if rewritten_end < size_bytes || numbers.below(4) == 0 {
                writer.set_len(size_bytes).context("grow")?;
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            self.write_again(&writer, file, len..size_bytes.min(rewritten_end))?;
        }
        Ok(())
    }

    fn write_again(&self, writer: &File, file: &TestFile, range: Range<u64>) -> Result<()> {
        let mut position = range.start;
        while position < range.end && !self.stop.load(Ordering::Relaxed) {
            let len = CHUNK_BYTES.min(range.end - position);
            writer.write_all_at(&file.expected(position, len as usize), position)?;
            self.count.fetch_add(1, Ordering::Relaxed);
            position += len;
        }
        Ok(())
    }
}
