// SPDX-License-Identifier: Apache-2.0
//! Tests that a copy survives the failure of each allocation that it makes, one after the other.
//! They need a kernel with fault injection.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::udmabuf::MemfdRange;
use dmabuf_uapi::{memfd, Errno};
use libtest_mimic::Trial;
use vts_support::files::{content, drop_cache, Files, Mode};
use vts_support::outcome::skip;
use vts_support::pattern::{self, assert_filled, assert_same, UNTOUCHED};
use vts_uapi::drm_prime::{find_card, open_card, GemHandle};

use crate::buffer::{Buffer, Exporter};
use crate::outcome::exporter_trials;

/// More pages than a copy has entries for before it allocates more.
const SIZE_BYTES: usize = 1 << 20;

/// Not whole blocks: the end of a direct load goes through a page aside.
const LOADED_BYTES: usize = SIZE_BYTES - 1000;

/// No copy of this size makes so many allocations.
const MOST_ALLOCATIONS: u32 = 20_000;

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "fault_injection",
        &[
            ("each_allocation_of_a_direct_load", |exporter| load(exporter, Mode::Direct)),
            ("each_allocation_of_a_buffered_load", |exporter| load(exporter, Mode::Buffered)),
            ("each_allocation_of_a_direct_save", |exporter| save(exporter, Mode::Direct)),
            ("each_allocation_of_a_buffered_save", |exporter| save(exporter, Mode::Buffered)),
        ],
    )
}

fn load(exporter: Exporter, mode: Mode) -> Result<()> {
    let failures = Failures::new()?;
    let files = Files::new()?;
    let source = files.patterned("in", 101, LOADED_BYTES as u64)?;
    let file = source.open(mode)?;
    let expected = source.expected(0, LOADED_BYTES);
    let untouched = vec![UNTOUCHED; SIZE_BYTES];
    let buffer = scattered(exporter)?;
    failures.of_each_allocation(|failures, nth| {
        buffer.write(0, &untouched)?;
        drop_cache(&file)?;
        let (loaded, failed) = failures.of(nth, || buffer.load(&file, 0, 0, SIZE_BYTES))?;
        let seen = buffer.bytes(0, SIZE_BYTES)?;
        check(loaded, failed, &seen[..LOADED_BYTES], &expected)?;
        assert_filled(&seen[LOADED_BYTES..], UNTOUCHED, "after the load");
        Ok(failed)
    })?;
    assert_usable(&buffer, &files)
}

fn save(exporter: Exporter, mode: Mode) -> Result<()> {
    let failures = Failures::new()?;
    let files = Files::new()?;
    let output = mode.open_output(&files.path("out"))?;
    let untouched = vec![UNTOUCHED; SIZE_BYTES];
    let expected = pattern::bytes(102, 0, SIZE_BYTES);
    let buffer = scattered(exporter)?;
    buffer.write(0, &expected)?;
    failures.of_each_allocation(|failures, nth| {
        fs::write(files.path("out"), &untouched)?;
        output.sync_all()?;
        drop_cache(&output)?;
        let (saved, failed) = failures.of(nth, || buffer.save(0, &output, 0, SIZE_BYTES))?;
        check(saved, failed, &content(&files.path("out"))?, &expected)?;
        Ok(failed)
    })?;
    assert_usable(&buffer, &files)
}

/// A buffer whose memory is in as many pieces as its exporter allows.
fn scattered(exporter: Exporter) -> Result<Buffer> {
    match exporter {
        Exporter::SystemHeap => Buffer::new(exporter, SIZE_BYTES),
        Exporter::Udmabuf => {
            let page_bytes = dmabuf_uapi::page_size_bytes() as u64;
            let memfd = memfd::create_sealed(c"vts-kernel", SIZE_BYTES as u64)?;
            let pages = (0..SIZE_BYTES as u64 / page_bytes).rev().map(|page| MemfdRange {
                memfd: memfd.as_fd(),
                offset_bytes: page * page_bytes,
                size_bytes: page_bytes,
            });
            Buffer::of_memfd(&pages.collect::<Vec<_>>())
        }
    }
}

/// What was copied is right, and what was not is as before, or right.
fn check(copied: Result<usize, Errno>, failed: bool, seen: &[u8], expected: &[u8]) -> Result<()> {
    let count = match copied {
        Ok(count) => count,
        Err(Errno::NOMEM | Errno::IO) if failed => 0,
        Err(errno) => anyhow::bail!("{errno}, and an allocation failed: {failed}"),
    };
    ensure!(failed || count == expected.len(), "{count} bytes, though no allocation failed");
    assert_same(&seen[..count], &expected[..count], "copied");
    let rest = seen[count..].iter().zip(&expected[count..]);
    let wrong =
        rest.enumerate().find(|(_, (seen, expected))| **seen != UNTOUCHED && seen != expected);
    ensure!(wrong.is_none(), "after the {count} bytes copied: {wrong:?}");
    Ok(())
}

/// No failed copy is still counted, neither for another copy nor for a device.
fn assert_usable(buffer: &Buffer, files: &Files) -> Result<()> {
    let source = files.patterned("again", 103, SIZE_BYTES as u64)?;
    assert_eq!(buffer.load(&source.direct()?, 0, 0, SIZE_BYTES), Ok(SIZE_BYTES));
    assert_same(&buffer.bytes(0, SIZE_BYTES)?, &source.expected(0, SIZE_BYTES), "loaded");
    if let Some(node) = find_card("vgem") {
        let card = open_card(&node).with_context(|| format!("opening {node:?}"))?;
        GemHandle::import(card.as_fd(), buffer).context("attaching afterwards")?;
    }
    Ok(())
}

/// Failures of allocations of this thread, see `Documentation/fault-injection` of the kernel.
struct Failures {
    nth: File,
    /// Files in debugfs, and what they contained.
    settings: Vec<(&'static str, Vec<u8>)>,
}

const NTH: &str = "/proc/thread-self/fail-nth";

/// All allocations may fail, those that may wait for memory, too, and without a report each.
const SETTINGS: [(&str, &str); 6] = [
    ("/sys/kernel/debug/failslab/ignore-gfp-wait", "N"),
    ("/sys/kernel/debug/failslab/verbose", "0"),
    ("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N"),
    ("/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N"),
    ("/sys/kernel/debug/fail_page_alloc/min-order", "0"),
    ("/sys/kernel/debug/fail_page_alloc/verbose", "0"),
];

impl Failures {
    fn new() -> Result<Self> {
        let nth = OpenOptions::new().read(true).write(true).open(NTH);
        let nth = nth.map_err(|error| skip(format!("no fault injection: {NTH}: {error}")))?;
        let mut this = Self { nth, settings: Vec::new() };
        for (path, value) in SETTINGS {
            let before = fs::read(path)
                .map_err(|error| skip(format!("no fault injection: {path}: {error}")))?;
            fs::write(path, value).with_context(|| path.to_owned())?;
            this.settings.push((path, before));
        }
        Ok(this)
    }

    /// Runs `copy` with the first allocation failing, then the second, until it has not so many;
    /// it returns whether one failed.
    fn of_each_allocation(&self, copy: impl Fn(&Self, u32) -> Result<bool>) -> Result<()> {
        for nth in 1..MOST_ALLOCATIONS {
            if !copy(self, nth).with_context(|| format!("allocation {nth}"))? {
                println!("{} allocations", nth - 1);
                ensure!(nth > 1, "no allocation failed");
                return Ok(());
            }
        }
        anyhow::bail!("{MOST_ALLOCATIONS} allocations and more")
    }

    /// Runs a call of which the allocation number `nth` fails, and returns whether it had so many.
    fn of<T>(&self, nth: u32, call: impl FnOnce() -> T) -> Result<(T, bool)> {
        let text = nth.to_string();
        self.nth.write_all_at(text.as_bytes(), 0).context(NTH)?;
        let result = call();
        let mut left = [0; 16];
        let length = self.nth.read_at(&mut left, 0);
        self.nth.write_all_at(b"0", 0).context(NTH)?;
        let left = std::str::from_utf8(&left[..length.context(NTH)?])?.trim();
        Ok((result, left == "0"))
    }
}

impl Drop for Failures {
    fn drop(&mut self) {
        for (path, before) in &self.settings {
            if let Err(error) = fs::write(path, before) {
                eprintln!("{path}: {error}");
            }
        }
    }
}
