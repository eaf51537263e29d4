// SPDX-License-Identifier: Apache-2.0
//! Tests of copies from a dma-buf to a file.

use anyhow::Result;
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use vts_support::files::{content, Files, Mode};
use vts_support::pattern::{assert_filled, assert_same, bytes};

use crate::buffer::{Buffer, Exporter};
use crate::outcome::exporter_trials;

const PAGE_BYTES: usize = 4096;
const MIB: usize = 1 << 20;

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "save",
        &[
            ("loaded_bytes_are_saved", loaded_bytes_are_saved),
            ("more_than_one_batch", more_than_one_batch),
            ("a_buffered_save_needs_no_alignment", a_buffered_save_needs_no_alignment),
            ("a_direct_save_of_an_odd_count_is_refused", a_direct_save_of_an_odd_count_is_refused),
            ("the_rest_of_the_file_is_unchanged", the_rest_of_the_file_is_unchanged),
            ("a_save_past_the_end_leaves_a_hole", a_save_past_the_end_leaves_a_hole),
            ("the_time_of_the_file_changes", the_time_of_the_file_changes),
        ],
    )
}

/// A buffer with patterned content.
fn patterned(exporter: Exporter, seed: u64, size_bytes: usize) -> Result<(Buffer, Vec<u8>)> {
    let buffer = Buffer::new(exporter, size_bytes)?;
    let content = bytes(seed, 0, buffer.size_bytes());
    buffer.write(0, &content)?;
    Ok((buffer, content))
}

fn loaded_bytes_are_saved(exporter: Exporter) -> Result<()> {
    let size = 5 * MIB;
    let files = Files::new()?;
    let source = files.patterned("in", 41, size as u64)?;
    for load_mode in Mode::ALL {
        for save_mode in Mode::ALL {
            let path = files.path(&format!("{load_mode:?}{save_mode:?}"));
            let buffer = Buffer::new(exporter, size)?;
            assert_eq!(buffer.load(&source.open(load_mode)?, 0, 0, size)?, size);
            assert_eq!(buffer.save(0, &save_mode.open_output(&path)?, 0, size)?, size);
            assert_same(&content(&path)?, &source.expected(0, size), "saved");
        }
    }
    Ok(())
}

fn more_than_one_batch(exporter: Exporter) -> Result<()> {
    let (buffer, expected) = patterned(exporter, 42, 33 * MIB)?;
    let files = Files::new()?;
    for mode in Mode::ALL {
        let path = files.path("out");
        let saved = buffer.save(0, &mode.open_output(&path)?, 0, usize::MAX)?;
        assert_eq!(saved, 33 * MIB);
        assert_same(&content(&path)?, &expected, "saved");
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn a_buffered_save_needs_no_alignment(exporter: Exporter) -> Result<()> {
    let (buffer, expected) = patterned(exporter, 43, 34 * MIB)?;
    let files = Files::new()?;
    for (buffer_offset, len) in [(1, 1), (4095, 3), (777, MIB + 5), (3, 33 * MIB + 999)] {
        let path = files.path("out");
        let output = Mode::Buffered.open_output(&path)?;
        assert_eq!(buffer.save(buffer_offset as u64, &output, 0, len)?, len);
        assert_same(&content(&path)?, &expected[buffer_offset..][..len], "saved");
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn a_direct_save_of_an_odd_count_is_refused(exporter: Exporter) -> Result<()> {
    let (buffer, _) = patterned(exporter, 44, 70 * MIB)?;
    let files = Files::new()?;
    let output = Mode::Direct.open_output(&files.path("out"))?;
    for len in [1, 1000, 4097, 33 * MIB + 1000, 64 * MIB + 1] {
        assert_eq!(buffer.save(0, &output, 0, len), Err(Errno::INVAL), "{len} bytes");
        assert_eq!(output.metadata()?.len(), 0, "bytes written of {len}");
    }
    Ok(())
}

fn the_rest_of_the_file_is_unchanged(exporter: Exporter) -> Result<()> {
    let (buffer, expected) = patterned(exporter, 45, 8 * PAGE_BYTES)?;
    let files = Files::new()?;
    let target = files.patterned("out", 46, 64 * 4096)?;
    for mode in Mode::ALL {
        let output = mode.open_output(target.path())?;
        assert_eq!(buffer.save(4096, &output, 10 * 4096, 3 * PAGE_BYTES)?, 3 * PAGE_BYTES);
        let seen = content(target.path())?;
        let mut wanted = target.expected(0, 64 * PAGE_BYTES);
        wanted[10 * PAGE_BYTES..13 * PAGE_BYTES]
            .copy_from_slice(&expected[PAGE_BYTES..4 * PAGE_BYTES]);
        assert_same(&seen, &wanted, "file");
    }
    Ok(())
}

fn a_save_past_the_end_leaves_a_hole(exporter: Exporter) -> Result<()> {
    let (buffer, expected) = patterned(exporter, 47, PAGE_BYTES)?;
    let files = Files::new()?;
    for mode in Mode::ALL {
        let path = files.path(&format!("{mode:?}"));
        let output = mode.open_output(&path)?;
        assert_eq!(buffer.save(0, &output, 1 << 20, PAGE_BYTES)?, PAGE_BYTES);
        let seen = content(&path)?;
        assert_filled(&seen[..MIB], 0, "hole");
        assert_same(&seen[MIB..], &expected, "saved");
    }
    Ok(())
}

fn the_time_of_the_file_changes(exporter: Exporter) -> Result<()> {
    let (buffer, _) = patterned(exporter, 48, PAGE_BYTES)?;
    let files = Files::new()?;
    let target = files.patterned("out", 49, 4096)?;
    for mode in Mode::ALL {
        let output = mode.open_output(target.path())?;
        output.set_modified(std::time::UNIX_EPOCH)?;
        assert_eq!(buffer.save(0, &output, 0, PAGE_BYTES)?, PAGE_BYTES);
        assert_ne!(output.metadata()?.modified()?, std::time::UNIX_EPOCH, "{mode:?}");
    }
    Ok(())
}
