// SPDX-License-Identifier: Apache-2.0
//! Tests of both directions in both modes: whole files, ends of file and buffer, counts of 0,
//! overlong counts.

use anyhow::Result;
use libtest_mimic::Trial;
use vts_support::files::{content, Files, Mode};
use vts_support::pattern::{self, assert_filled, assert_same, UNTOUCHED};

use crate::buffer::{Buffer, Exporter};
use crate::outcome::exporter_trials;

const PAGE_BYTES: usize = 4096;

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "basics",
        &[
            ("a_whole_file_is_loaded", a_whole_file_is_loaded),
            ("a_whole_buffer_is_saved", a_whole_buffer_is_saved),
            ("only_the_range_changes", only_the_range_changes),
            ("copies_at_or_after_an_end_return_0", copies_at_or_after_an_end_return_0),
            ("a_count_of_zero_copies_nothing", a_count_of_zero_copies_nothing),
            ("the_largest_count_is_cut", the_largest_count_is_cut),
            ("a_copy_stops_at_the_nearer_end", a_copy_stops_at_the_nearer_end),
        ],
    )
}

fn a_whole_file_is_loaded(exporter: Exporter) -> Result<()> {
    let size = 3 * (1 << 20) + 5 * PAGE_BYTES;
    let files = Files::new()?;
    let source = files.patterned("file", 1, size as u64)?;
    for mode in Mode::ALL {
        let buffer = Buffer::new(exporter, size)?;
        assert_eq!(buffer.load(&source.open(mode)?, 0, 0, size)?, size);
        assert_same(&buffer.bytes(0, size)?, &source.expected(0, size), "buffer");
    }
    Ok(())
}

fn a_whole_buffer_is_saved(exporter: Exporter) -> Result<()> {
    let size = 3 * (1 << 20) + 5 * PAGE_BYTES;
    let files = Files::new()?;
    let bytes = pattern::bytes(2, 0, size);
    let buffer = Buffer::new(exporter, size)?;
    buffer.write(0, &bytes)?;
    for mode in Mode::ALL {
        let path = files.path(&format!("{mode:?}"));
        assert_eq!(buffer.save(0, &mode.open_output(&path)?, 0, size)?, size);
        assert_same(&content(&path)?, &bytes, "file");
    }
    Ok(())
}

fn only_the_range_changes(exporter: Exporter) -> Result<()> {
    let size = 1 << 20;
    let (file_offset, buffer_offset, len) = (2 * PAGE_BYTES, 5 * PAGE_BYTES, 7 * PAGE_BYTES);
    let files = Files::new()?;
    let source = files.patterned("file", 3, size as u64)?;
    for mode in Mode::ALL {
        let buffer = Buffer::filled(exporter, size, UNTOUCHED)?;
        let copied =
            buffer.load(&source.open(mode)?, file_offset as u64, buffer_offset as u64, len)?;
        assert_eq!(copied, len);
        let seen = buffer.bytes(0, size)?;
        assert_filled(&seen[..buffer_offset], UNTOUCHED, "before the range");
        let range = buffer_offset..buffer_offset + len;
        assert_same(&seen[range], &source.expected(file_offset as u64, len), "range");
        assert_filled(&seen[buffer_offset + len..], UNTOUCHED, "after the range");
    }
    Ok(())
}

fn copies_at_or_after_an_end_return_0(exporter: Exporter) -> Result<()> {
    let size = 4 * PAGE_BYTES;
    let end = size as u64;
    let files = Files::new()?;
    let source = files.patterned("file", 4, end)?;
    let buffer = Buffer::filled(exporter, size, UNTOUCHED)?;
    for mode in Mode::ALL {
        let file = source.open(mode)?;
        assert_eq!(buffer.load(&file, end, 0, PAGE_BYTES), Ok(0), "at the end of the file");
        assert_eq!(buffer.load(&file, end + 4096, 0, PAGE_BYTES), Ok(0), "after it");
        assert_eq!(buffer.load(&file, 0, end, PAGE_BYTES), Ok(0), "at the end of the buffer");
        assert_eq!(buffer.load(&file, 0, end + 4096, PAGE_BYTES), Ok(0), "after it");
        let output = mode.open_output(&files.path("out"))?;
        assert_eq!(buffer.save(end, &output, 0, PAGE_BYTES), Ok(0), "at the end of the buffer");
        assert_eq!(buffer.save(end + 4096, &output, 0, PAGE_BYTES), Ok(0), "after it");
        assert_eq!(output.metadata()?.len(), 0);
    }
    assert_filled(&buffer.bytes(0, size)?, UNTOUCHED, "buffer");
    Ok(())
}

fn a_count_of_zero_copies_nothing(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("file", 5, 4096)?;
    let empty = files.patterned("empty", 5, 0)?;
    let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
    for mode in Mode::ALL {
        assert_eq!(buffer.load(&source.open(mode)?, 0, 0, 0), Ok(0));
        assert_eq!(buffer.load(&empty.open(mode)?, 0, 0, PAGE_BYTES), Ok(0));
        assert_eq!(buffer.save(0, &mode.open_output(&files.path("out"))?, 0, 0), Ok(0));
    }
    assert_filled(&buffer.bytes(0, PAGE_BYTES)?, UNTOUCHED, "buffer");
    Ok(())
}

fn the_largest_count_is_cut(exporter: Exporter) -> Result<()> {
    let size = 16 * PAGE_BYTES;
    let files = Files::new()?;
    let source = files.patterned("file", 6, size as u64)?;
    for mode in Mode::ALL {
        let file = source.open(mode)?;
        for count in [usize::MAX, i64::MAX as usize, u32::MAX as usize, i32::MAX as usize] {
            let buffer = Buffer::new(exporter, size)?;
            assert_eq!(buffer.load(&file, 0, 0, count), Ok(size), "load of {count} bytes");
            let output = mode.open_output(&files.path("out"))?;
            assert_eq!(buffer.save(0, &output, 0, count), Ok(size), "save of {count} bytes");
            assert_same(&content(&files.path("out"))?, &source.expected(0, size), "saved");
        }
    }
    Ok(())
}

fn a_copy_stops_at_the_nearer_end(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("file", 7, 8 * 4096)?;
    for mode in Mode::ALL {
        let file = source.open(mode)?;
        let short = Buffer::new(exporter, 3 * PAGE_BYTES)?;
        assert_eq!(short.load(&file, 4096, 0, 1 << 20)?, 3 * PAGE_BYTES);
        let expected = source.expected(4096, 3 * PAGE_BYTES);
        assert_same(&short.bytes(0, 3 * PAGE_BYTES)?, &expected, "buffer");

        let long = Buffer::filled(exporter, 16 * PAGE_BYTES, UNTOUCHED)?;
        assert_eq!(long.load(&file, 0, 2 * 4096, 1 << 20)?, 8 * PAGE_BYTES);
        let seen = long.bytes(2 * PAGE_BYTES, 14 * PAGE_BYTES)?;
        assert_same(&seen[..8 * PAGE_BYTES], &source.expected(0, 8 * PAGE_BYTES), "loaded");
        assert_filled(&seen[8 * PAGE_BYTES..], UNTOUCHED, "after the end of the file");
    }
    Ok(())
}
