// SPDX-License-Identifier: Apache-2.0
//! Tests of loads through the page cache, which accept any alignment and length.

use anyhow::Result;
use dmabuf_uapi::page_cache::cached_pages;
use libtest_mimic::Trial;
use vts_support::files::{Files, Mode};
use vts_support::pattern::{self, assert_filled, assert_same, UNTOUCHED};

use crate::buffer::{Buffer, Exporter};
use crate::outcome::exporter_trials;

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "buffered",
        &[
            ("no_alignment_is_required", no_alignment_is_required),
            ("more_than_one_batch", more_than_one_batch),
            ("dirty_pages_are_loaded", dirty_pages_are_loaded),
            ("a_memfd_is_a_regular_file", a_memfd_is_a_regular_file),
        ],
    )
}

fn no_alignment_is_required(exporter: Exporter) -> Result<()> {
    let size = 3 << 20;
    let files = Files::new()?;
    let source = files.patterned("file", 31, size as u64)?;
    let file = source.buffered()?;
    for (file_offset, buffer_offset, len) in
        [(123, 4567, (1 << 20) + 3), (0, 1, 1), (4095, 0, 2), (1, 4095, 4098), (8192, 3, 4096)]
    {
        let buffer = Buffer::filled(exporter, size, UNTOUCHED)?;
        assert_eq!(buffer.load(&file, file_offset, buffer_offset as u64, len)?, len);
        let seen = buffer.bytes(0, size)?;
        assert_filled(&seen[..buffer_offset], UNTOUCHED, "before");
        let range = buffer_offset..buffer_offset + len;
        assert_same(&seen[range], &source.expected(file_offset, len), "loaded");
        assert_filled(&seen[buffer_offset + len..], UNTOUCHED, "after");
    }
    Ok(())
}

fn more_than_one_batch(exporter: Exporter) -> Result<()> {
    let len = (33 << 20) + 77;
    let files = Files::new()?;
    let source = files.patterned("file", 32, len as u64 + 11)?;
    let file = source.buffered()?;
    let buffer = Buffer::new(exporter, len + 13)?;
    assert_eq!(buffer.load(&file, 11, 13, len)?, len);
    assert_same(&buffer.bytes(13, len)?, &source.expected(11, len), "loaded");
    assert_ne!(cached_pages(&file)?, 0, "pages in the page cache");
    Ok(())
}

fn dirty_pages_are_loaded(exporter: Exporter) -> Result<()> {
    let bytes = pattern::bytes(33, 0, 10_000);
    let files = Files::new()?;
    std::fs::write(files.path("file"), &bytes)?;
    for open in [Mode::Buffered, Mode::Direct] {
        let buffer = Buffer::new(exporter, bytes.len())?;
        let file = open.open_output(&files.path("file"))?;
        assert_eq!(buffer.load(&file, 0, 0, usize::MAX)?, bytes.len());
        assert_same(&buffer.bytes(0, bytes.len())?, &bytes, "loaded");
    }
    Ok(())
}

fn a_memfd_is_a_regular_file(exporter: Exporter) -> Result<()> {
    let bytes = pattern::bytes(34, 0, 12_345);
    let memfd = std::fs::File::from(dmabuf_uapi::memfd::create_sealed(c"source", 16_384)?);
    std::os::unix::fs::FileExt::write_all_at(&memfd, &bytes, 100)?;
    let buffer = Buffer::new(exporter, 16_384)?;
    assert_eq!(buffer.load(&memfd, 100, 7, bytes.len())?, bytes.len());
    assert_same(&buffer.bytes(7, bytes.len())?, &bytes, "loaded");
    Ok(())
}
