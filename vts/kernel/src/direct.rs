// SPDX-License-Identifier: Apache-2.0
//! Tests with `O_DIRECT` on the ordinary file: the page cache stays unused, and the alignment of
//! the file system is required.

use std::fs::File;

use anyhow::{ensure, Result};
use dmabuf_uapi::file_attributes::file_attributes;
use dmabuf_uapi::page_cache::cached_pages;
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};
use vts_support::files::{content, drop_cache, Files, Mode};
use vts_support::outcome::skip;
use vts_support::pattern::{self, assert_filled, assert_same, UNTOUCHED};

use crate::buffer::{Buffer, Exporter};
use crate::outcome::exporter_trials;

const SIZE_BYTES: usize = 16 << 20;

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "direct",
        &[
            ("a_load_leaves_the_page_cache_alone", a_load_leaves_the_page_cache_alone),
            ("a_save_leaves_the_page_cache_alone", a_save_leaves_the_page_cache_alone),
            ("the_flag_of_the_open_file_decides", the_flag_of_the_open_file_decides),
            ("unaligned_offsets_are_refused", unaligned_offsets_are_refused),
            ("device_blocks_are_enough", device_blocks_are_enough),
        ],
    )
}

fn require_direct_io(file: &File) -> Result<()> {
    match file_attributes(file)?.direct_io_align {
        Some(align) if align.offset_bytes != 0 => Ok(()),
        _ => Err(skip("the file system of the work directory has no direct I/O")),
    }
}

fn a_load_leaves_the_page_cache_alone(exporter: Exporter) -> Result<()> {
    let size = SIZE_BYTES + 1000;
    let files = Files::new()?;
    let source = files.patterned("file", 21, size as u64)?;
    let file = source.direct()?;
    require_direct_io(&file)?;
    let buffer = Buffer::new(exporter, size)?;
    ensure!(cached_pages(&file)? == 0, "the file is in the page cache before the test");
    assert_eq!(buffer.load(&file, 0, 0, size)?, size);
    assert_eq!(cached_pages(&file)?, 0, "pages in the page cache after a direct load");
    assert_same(&buffer.bytes(0, size)?, &source.expected(0, size), "loaded");
    // cachestat(2) does count the pages of a load that is not direct.
    assert_eq!(buffer.load(&source.buffered()?, 0, 0, size)?, size);
    assert_ne!(cached_pages(&file)?, 0, "pages in the page cache after a buffered load");
    Ok(())
}

fn a_save_leaves_the_page_cache_alone(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let buffer = Buffer::new(exporter, SIZE_BYTES)?;
    let output = Mode::Direct.open_output(&files.path("out"))?;
    // F2FS buffers direct writes that allocate blocks in some layouts: write the blocks first.
    assert_eq!(buffer.save(0, &output, 0, SIZE_BYTES)?, SIZE_BYTES);
    output.sync_all()?;
    drop_cache(&output)?;
    require_direct_io(&output)?;
    let bytes = pattern::bytes(22, 0, SIZE_BYTES);
    buffer.write(0, &bytes)?;
    ensure!(cached_pages(&output)? == 0, "the file is in the page cache before the test");
    assert_eq!(buffer.save(0, &output, 0, SIZE_BYTES)?, SIZE_BYTES);
    assert_eq!(cached_pages(&output)?, 0, "pages in the page cache after a direct save");
    assert_same(&content(&files.path("out"))?, &bytes, "saved");
    Ok(())
}

fn the_flag_of_the_open_file_decides(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("file", 23, SIZE_BYTES as u64)?;
    let file = source.buffered()?;
    require_direct_io(&file)?;
    let buffer = Buffer::new(exporter, SIZE_BYTES)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::DIRECT)?;
    assert_eq!(buffer.load(&file, 0, 0, SIZE_BYTES)?, SIZE_BYTES);
    assert_eq!(cached_pages(&file)?, 0, "pages in the page cache with O_DIRECT set");
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::DIRECT)?;
    assert_eq!(buffer.load(&file, 0, 0, SIZE_BYTES)?, SIZE_BYTES);
    assert_ne!(cached_pages(&file)?, 0, "pages in the page cache with O_DIRECT cleared");
    Ok(())
}

fn unaligned_offsets_are_refused(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("file", 24, 1 << 20)?;
    let file = source.direct()?;
    require_direct_io(&file)?;
    let buffer = Buffer::new(exporter, 1 << 20)?;
    let before = buffer.bytes(0, 1 << 20)?;
    for (file_offset, buffer_offset) in [(100, 0), (0, 100), (100, 100), (1, 4096), (4096, 511)] {
        for len in [4096, 5000, 1 << 20] {
            let loaded = buffer.load(&file, file_offset, buffer_offset, len);
            assert_eq!(loaded, Err(Errno::INVAL), "{file_offset} to {buffer_offset}, {len} bytes");
        }
    }
    assert_same(&buffer.bytes(0, 1 << 20)?, &before, "buffer after refused loads");

    let output = Mode::Direct.open_output(&files.path("out"))?;
    for (buffer_offset, file_offset) in [(100, 0), (0, 100)] {
        let saved = buffer.save(buffer_offset, &output, file_offset, 4096);
        assert_eq!(saved, Err(Errno::INVAL), "{buffer_offset} to {file_offset}");
    }
    assert_eq!(output.metadata()?.len(), 0);
    Ok(())
}

fn device_blocks_are_enough(exporter: Exporter) -> Result<()> {
    const BLOCK_BYTES: usize = 512;
    let files = Files::new()?;
    let source = files.patterned("file", 25, 100 * 512 + 99)?;
    let file = source.direct()?;
    let (file_offset, buffer_offset) = (3 * BLOCK_BYTES, 5 * BLOCK_BYTES);
    let len = 97 * BLOCK_BYTES + 99;
    let buffer = Buffer::filled(exporter, 1 << 20, UNTOUCHED)?;
    match buffer.load(&file, file_offset as u64, buffer_offset as u64, 1 << 20) {
        Err(Errno::INVAL) => return Err(skip("the disk has blocks of more than 512 bytes")),
        copied => assert_eq!(copied, Ok(len)),
    }
    let seen = buffer.bytes(0, 1 << 20)?;
    assert_filled(&seen[..buffer_offset], UNTOUCHED, "before");
    let range = buffer_offset..buffer_offset + len;
    assert_same(&seen[range], &source.expected(file_offset as u64, len), "loaded");
    assert_filled(&seen[buffer_offset + len..], UNTOUCHED, "after");
    Ok(())
}
