// SPDX-License-Identifier: Apache-2.0
//! Tests of offsets past 2 GiB and 4 GiB in either file, negative offsets, and sums that overflow.

use std::os::fd::AsFd;

use anyhow::Result;
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use vts_support::files::{content, Files, Mode};
use vts_support::pattern::assert_same;

use crate::buffer::{require_available_memory, Buffer, Exporter};
use crate::outcome::{exporter_trials, support_trial};

const PAGE_BYTES: usize = 4096;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Not a power of two, so that an offset truncated to 32 bits refers to other memory.
const ITEM_BYTES: u64 = 60 * MIB;
/// The most bytes that one `read(2)` returns (`MAX_RW_COUNT`).
const LARGEST_COPY_BYTES: usize = 0x7fff_f000;
const LEN_BYTES: usize = 3 * PAGE_BYTES;
/// Offsets at which the kernel's types change sign or overflow, and one after.
const FAR_OFFSETS_BYTES: [u64; 6] =
    [2 * GIB - 4096, 2 * GIB, 2 * GIB + 4096, 4 * GIB - 4096, 4 * GIB, 4 * GIB + 8192];

pub fn trials() -> Vec<Trial> {
    let mut trials = exporter_trials(
        "offsets",
        &[
            ("far_in_the_file", far_in_the_file),
            ("negative_offsets_are_invalid", negative_offsets_are_invalid),
            ("sums_must_not_overflow", sums_must_not_overflow),
        ],
    );
    trials.extend([
        support_trial("offsets", "far_in_a_udmabuf", far_in_a_udmabuf),
        support_trial("offsets", "past_2_gib_in_the_system_heap", past_2_gib_in_the_system_heap),
        support_trial("offsets", "one_copy_is_capped", one_copy_is_capped),
    ]);
    trials
}

fn far_in_the_file(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    for offset in FAR_OFFSETS_BYTES {
        let source = files.sparse("in", 51, offset, offset + LEN_BYTES as u64)?;
        let out = files.path("out");
        for mode in Mode::ALL {
            let buffer = Buffer::new(exporter, LEN_BYTES)?;
            let copied = buffer.load(&source.open(mode)?, offset, 0, LEN_BYTES)?;
            assert_eq!(copied, LEN_BYTES, "load at {offset}");
            let expected = source.expected(offset, LEN_BYTES);
            assert_same(&buffer.bytes(0, LEN_BYTES)?, &expected, "loaded");

            let output = mode.open_output(&out)?;
            assert_eq!(buffer.save(0, &output, offset, LEN_BYTES)?, LEN_BYTES, "save at {offset}");
            assert_eq!(output.metadata()?.len(), offset + LEN_BYTES as u64);
            let reload = Buffer::new(exporter, LEN_BYTES)?;
            assert_eq!(reload.load(&output, offset, 0, LEN_BYTES)?, LEN_BYTES);
            assert_same(&reload.bytes(0, LEN_BYTES)?, &expected, "saved");
            std::fs::remove_file(&out)?;
        }
    }
    Ok(())
}

fn far_in_a_udmabuf() -> Result<()> {
    let (buffer, memfd) = Buffer::repeating(ITEM_BYTES, 5 * GIB)?;
    let memory = Mapping::shared(memfd.as_fd(), ITEM_BYTES as usize, MappingAccess::ReadWrite)?;
    let files = Files::new()?;
    for offset in FAR_OFFSETS_BYTES {
        for mode in Mode::ALL {
            // The content differs for each offset, because all offsets share the memory.
            let source = files.patterned("in", 52 + (offset >> 12) % 50, LEN_BYTES as u64)?;
            memory.fill_zero(0..ITEM_BYTES as usize)?;
            let copied = buffer.load(&source.open(mode)?, 0, offset, LEN_BYTES)?;
            assert_eq!(copied, LEN_BYTES, "load at {offset}");
            let mut seen = vec![0; LEN_BYTES];
            memory.read((offset % ITEM_BYTES) as usize, &mut seen)?;
            assert_same(&seen, &source.expected(0, LEN_BYTES), "loaded");

            let output = mode.open_output(&files.path("out"))?;
            assert_eq!(buffer.save(offset, &output, 0, LEN_BYTES)?, LEN_BYTES, "save at {offset}");
            let saved = content(&files.path("out"))?;
            assert_same(&saved, &source.expected(0, LEN_BYTES), "saved");
        }
    }
    Ok(())
}

fn past_2_gib_in_the_system_heap() -> Result<()> {
    const SIZE_BYTES: u64 = 2 * GIB + 16 * MIB;
    require_available_memory(SIZE_BYTES / MIB + 256)?;
    let buffer = Buffer::new(Exporter::SystemHeap, SIZE_BYTES as usize)?;
    let files = Files::new()?;
    let len = 9 * MIB as usize + 5;
    let source = files.patterned("in", 53, len as u64)?;
    for (mode, offset) in [(Mode::Direct, 2 * GIB - 4 * MIB), (Mode::Buffered, 2 * GIB - 4097)] {
        assert_eq!(buffer.load(&source.open(mode)?, 0, offset, len)?, len, "load at {offset}");
        let seen = buffer.bytes(offset as usize, len)?;
        assert_same(&seen, &source.expected(0, len), "loaded");

        let output = Mode::Buffered.open_output(&files.path("out"))?;
        assert_eq!(buffer.save(offset, &output, 0, len)?, len, "save at {offset}");
        assert_same(&content(&files.path("out"))?, &source.expected(0, len), "saved");
    }
    Ok(())
}

fn one_copy_is_capped() -> Result<()> {
    let (buffer, _memfd) = Buffer::repeating(ITEM_BYTES, 3 * GIB)?;
    let files = Files::new()?;
    let hole = files.hole("in", 3 * GIB)?;
    let loaded = buffer.load(&hole.direct()?, 0, 0, usize::MAX)?;
    assert_eq!(loaded, LARGEST_COPY_BYTES);
    Ok(())
}

fn negative_offsets_are_invalid(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("in", 54, 4096)?.buffered()?;
    let output = Mode::Buffered.open_output(&files.path("out"))?;
    let buffer = Buffer::new(exporter, PAGE_BYTES)?;
    for negative in [-4096_i64 as u64, i64::MIN as u64] {
        assert_eq!(buffer.load(&file, negative, 0, 100), Err(Errno::INVAL), "file {negative}");
        assert_eq!(buffer.load(&file, 0, negative, 100), Err(Errno::INVAL), "buffer {negative}");
        assert_eq!(buffer.save(negative, &output, 0, 100), Err(Errno::INVAL), "buffer {negative}");
        assert_eq!(buffer.save(0, &output, negative, 100), Err(Errno::INVAL), "file {negative}");
    }
    Ok(())
}

fn sums_must_not_overflow(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("in", 55, 4096)?.buffered()?;
    let output = Mode::Buffered.open_output(&files.path("out"))?;
    let buffer = Buffer::new(exporter, PAGE_BYTES)?;
    let last = i64::MAX as u64;
    for (one, other) in [(4096, 0), (0, 4096), (u64::MAX, 0), (0, u64::MAX)] {
        assert_eq!(buffer.load(&file, one, other, usize::MAX), Err(Errno::OVERFLOW));
        assert_eq!(buffer.save(one, &output, other, usize::MAX), Err(Errno::OVERFLOW));
    }
    // The largest offset lies after every end of file.
    assert_eq!(buffer.load(&file, last, 0, PAGE_BYTES), Ok(0));
    assert_eq!(buffer.load(&file, 0, last, PAGE_BYTES), Ok(0));
    assert_eq!(buffer.save(last, &output, 0, PAGE_BYTES), Ok(0));
    Ok(())
}
