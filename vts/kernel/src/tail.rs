// SPDX-License-Identifier: Apache-2.0
//! Tests of `O_DIRECT` loads that do not end at a block boundary.

use anyhow::Result;
use libtest_mimic::Trial;
use vts_support::files::Files;
use vts_support::pattern::{assert_filled, assert_same, UNTOUCHED};

use crate::buffer::{Buffer, Exporter};
use crate::outcome::exporter_trials;

const PAGE_BYTES: usize = 4096;
const MIB: usize = 1 << 20;
/// Bytes that the kernel copies between two checks for a signal.
const BATCH_BYTES: usize = 32 * MIB;

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "tail",
        &[
            ("a_file_is_loaded_to_its_last_byte", a_file_is_loaded_to_its_last_byte),
            ("files_around_the_batch_size", files_around_the_batch_size),
            ("the_buffer_is_unchanged_after_the_end", the_buffer_is_unchanged_after_the_end),
            ("a_tail_can_be_loaded_alone", a_tail_can_be_loaded_alone),
            ("a_tail_alone_goes_to_any_offset", a_tail_alone_goes_to_any_offset),
            ("an_odd_count_inside_the_file", an_odd_count_inside_the_file),
            ("a_tail_fills_the_buffer_to_its_end", a_tail_fills_the_buffer_to_its_end),
        ],
    )
}

/// Loads a file of `size_bytes` in one call and compares every byte of the buffer.
fn check_size(exporter: Exporter, size_bytes: usize) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("file", 11, size_bytes as u64)?;
    let buffer = Buffer::filled(exporter, size_bytes + 2 * PAGE_BYTES, UNTOUCHED)?;
    let copied = buffer.load(&source.direct()?, 0, 0, buffer.size_bytes())?;
    assert_eq!(copied, size_bytes, "bytes loaded of a file of {size_bytes}");
    let seen = buffer.bytes(0, buffer.size_bytes())?;
    assert_same(&seen[..size_bytes], &source.expected(0, size_bytes), "loaded");
    assert_filled(&seen[size_bytes..], UNTOUCHED, "after the end of the file");
    Ok(())
}

fn a_file_is_loaded_to_its_last_byte(exporter: Exporter) -> Result<()> {
    let sizes = [1, 7, 511, 512, 513, 1000, 4095, 4096, 4097, 8191, MIB - 1, MIB, MIB + 1];
    sizes.into_iter().chain([5 * MIB + 777]).try_for_each(|size| check_size(exporter, size))
}

fn files_around_the_batch_size(exporter: Exporter) -> Result<()> {
    [BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, BATCH_BYTES + 5000]
        .into_iter()
        .try_for_each(|size| check_size(exporter, size))
}

fn the_buffer_is_unchanged_after_the_end(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let first = files.patterned("first", 12, 5000)?;
    let second = files.patterned("second", 13, 700)?;
    let buffer = Buffer::filled(exporter, 4 * PAGE_BYTES, UNTOUCHED)?;
    // The second file is loaded into the block that holds the end of the first file.
    assert_eq!(buffer.load(&second.buffered()?, 0, 5000, 700)?, 700);
    assert_eq!(buffer.load(&first.direct()?, 0, 0, 5000)?, 5000);
    let seen = buffer.bytes(0, 4 * PAGE_BYTES)?;
    assert_same(&seen[..5000], &first.expected(0, 5000), "first file");
    assert_same(&seen[5000..5700], &second.expected(0, 700), "second file");
    assert_filled(&seen[5700..], UNTOUCHED, "after both");
    Ok(())
}

fn a_tail_can_be_loaded_alone(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("file", 14, 2 * 4096 + 33)?;
    let buffer = Buffer::filled(exporter, 4 * PAGE_BYTES, UNTOUCHED)?;
    let file = source.direct()?;
    assert_eq!(buffer.load(&file, 2 * 4096, 4096, 1 << 20)?, 33);
    let seen = buffer.bytes(0, 4 * PAGE_BYTES)?;
    assert_filled(&seen[..PAGE_BYTES], UNTOUCHED, "before");
    assert_same(&seen[PAGE_BYTES..][..33], &source.expected(2 * 4096, 33), "tail");
    assert_filled(&seen[PAGE_BYTES + 33..], UNTOUCHED, "after");
    Ok(())
}

fn a_tail_alone_goes_to_any_offset(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("file", 17, 4096 + 33)?;
    let file = source.direct()?;
    for offset in [1, 511, 4095] {
        let buffer = Buffer::filled(exporter, 2 * PAGE_BYTES, UNTOUCHED)?;
        assert_eq!(buffer.load(&file, 4096, offset as u64, PAGE_BYTES), Ok(33), "at {offset}");
        let seen = buffer.bytes(0, 2 * PAGE_BYTES)?;
        assert_filled(&seen[..offset], UNTOUCHED, "before");
        assert_same(&seen[offset..][..33], &source.expected(4096, 33), "tail");
        assert_filled(&seen[offset + 33..], UNTOUCHED, "after");
    }
    Ok(())
}

fn an_odd_count_inside_the_file(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("file", 15, 1 << 20)?;
    let file = source.direct()?;
    for count in [1, 100, 4095, 4097, 70_001] {
        let buffer = Buffer::filled(exporter, 1 << 20, UNTOUCHED)?;
        assert_eq!(buffer.load(&file, 3 * 4096, 4096, count)?, count);
        let seen = buffer.bytes(PAGE_BYTES, count + PAGE_BYTES)?;
        assert_same(&seen[..count], &source.expected(3 * 4096, count), "loaded");
        assert_filled(&seen[count..], UNTOUCHED, "after the count");
    }
    Ok(())
}

fn a_tail_fills_the_buffer_to_its_end(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("file", 16, 3 * 4096 - 1)?;
    let buffer = Buffer::filled(exporter, 3 * PAGE_BYTES, UNTOUCHED)?;
    assert_eq!(buffer.load(&source.direct()?, 0, 0, usize::MAX)?, 3 * PAGE_BYTES - 1);
    let seen = buffer.bytes(0, 3 * PAGE_BYTES)?;
    assert_same(&seen[..3 * 4096 - 1], &source.expected(0, 3 * 4096 - 1), "loaded");
    assert_eq!(seen[3 * PAGE_BYTES - 1], UNTOUCHED);
    Ok(())
}
