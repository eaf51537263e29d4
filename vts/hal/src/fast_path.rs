// SPDX-License-Identifier: Apache-2.0
//! Tests that the direct paths are taken: the report says so, and the page cache does not grow.

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{
    LoadPath::LoadPath, NotTakenReason::NotTakenReason, Segment::Segment,
    TransferReport::TransferReport,
};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use dmabuf_uapi::file_attributes::file_attributes;
use dmabuf_uapi::page_cache::cached_pages;
use dmabuf_uapi::Errno;
use vts_support::files::{drop_cache, Files, Mode};
use vts_support::outcome::skip;

use crate::buffer::{fd, View};
use crate::client::{new_buffer, require_direct_io, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("a_300_mib_file_moves_direct", a_300_mib_file_moves_direct),
    ("a_file_of_odd_size_moves_direct", a_file_of_odd_size_moves_direct),
    ("inline_data_is_not_reported_as_direct", inline_data_is_not_reported_as_direct),
    ("udmabuf_buffers_are_filled_direct", udmabuf_buffers_are_filled_direct),
    ("a_save_moves_direct", a_save_moves_direct),
    ("a_file_opened_buffered_is_reported", a_file_opened_buffered_is_reported),
    ("a_small_file_is_not_reopened_for_direct", a_small_file_is_not_reopened_for_direct),
    ("an_unaligned_buffer_offset_is_reported", an_unaligned_buffer_offset_is_reported),
];

fn expect_direct(report: &TransferReport, bytes: i64) -> Result<()> {
    ensure!(report.path == LoadPath::COPY_FILE_RANGE && report.direct, "{report:?}");
    ensure!(report.directBytes == bytes && report.bufferedBytes == 0, "{report:?}");
    ensure!(report.notTaken.is_empty(), "{report:?}");
    Ok(())
}

/// Loads a file of the given size and checks in the page cache that it was read directly.
fn load_direct(client: &Client, heap: &str, size_bytes: u64) -> Result<()> {
    client.require_copy_file_range(heap)?;
    let files = Files::new()?;
    require_direct_io(&files)?;
    let file = files.patterned("f", 1, size_bytes)?;
    let watched = file.buffered()?;
    drop_cache(&watched)?;
    let before = match cached_pages(&watched) {
        Err(Errno::NOSYS) => return Err(skip("the kernel has no cachestat(2)")),
        pages => pages.context("cachestat")?,
    };
    let source = file.direct()?;
    let result = client.load(LoadSpec::whole_file(&source)?.into_new(new_buffer(heap)))?;
    let after = cached_pages(&watched).context("cachestat")?;
    expect_direct(&result.report, size_bytes as i64)?;
    ensure!(after <= before, "the page cache of the file grew from {before} to {after} pages");
    let buffer = result.buffer.context("no buffer")?;
    println!(
        "INFO: {size_bytes} bytes by COPY_FILE_RANGE direct into heap {}, page cache {before} to {after} pages",
        buffer.heap
    );
    let view = View::new(&buffer)?;
    view.expect(0, size_bytes, |done, len| file.expected(done, len))?;
    view.expect_zero_from(size_bytes)
}

fn a_300_mib_file_moves_direct(client: &Client) -> Result<()> {
    load_direct(client, &client.best_heap()?.name, 300 << 20)
}

fn a_file_of_odd_size_moves_direct(client: &Client) -> Result<()> {
    let heap = client.best_heap()?.name;
    for size_bytes in [4095, 4096, 4097, (1 << 20) + 1, (40 << 20) + 513] {
        load_direct(client, &heap, size_bytes)?;
    }
    Ok(())
}

/// F2FS keeps small files in the inode and reads them through the page cache even with O_DIRECT.
fn inline_data_is_not_reported_as_direct(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 100)?;
    let source = open_for_load(file.path())?;
    if file_attributes(&source)?.allocated_sectors % 8 == 0 {
        return Err(skip("the file system gave the small file a block of its own"));
    }
    let report = client.load(LoadSpec::whole_file(&source)?)?.report;
    ensure!(!report.direct && report.bufferedBytes == 100, "{report:?}");
    let not_direct = report.notTaken.iter().find(|not_taken| not_taken.direct);
    let reason = not_direct.context("no reason")?.reason;
    let expected = [NotTakenReason::FILE_LACKS_DIRECT_IO, NotTakenReason::KERNEL_UNSUPPORTED];
    ensure!(expected.contains(&reason), "{report:?}");
    Ok(())
}

fn udmabuf_buffers_are_filled_direct(client: &Client) -> Result<()> {
    if !client.heaps()?.iter().any(|heap| heap.name == "udmabuf") {
        return Err(skip("the device has no udmabuf"));
    }
    load_direct(client, "udmabuf", (20 << 20) + 7)
}

fn a_save_moves_direct(client: &Client) -> Result<()> {
    let heap = client.best_heap()?.name;
    client.require_copy_file_range(&heap)?;
    let files = Files::new()?;
    require_direct_io(&files)?;
    let file = files.patterned("f", 2, 8 << 20)?;
    let source = open_for_load(file.path())?;
    let loaded = client.load(LoadSpec::whole_file(&source)?.into_new(new_buffer(&heap)))?;
    let buffer = loaded.buffer.context("no buffer")?;
    let target = Mode::Direct.open_output(&files.path("target"))?;
    let spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(&target)?.segment(Segment::default());
    let saved = client.loader.save(spec)?;
    expect_direct(&saved.report, 8 << 20)
}

/// The service reads directly if it may reopen the file, else buffered with that reason.
fn a_file_opened_buffered_is_reported(client: &Client) -> Result<()> {
    let heap = client.best_heap()?.name;
    client.require_copy_file_range(&heap)?;
    let files = Files::new()?;
    require_direct_io(&files)?;
    let file = files.patterned("f", 3, 4 << 20)?;
    let result =
        client.load(LoadSpec::whole_file(file.buffered()?)?.into_new(new_buffer(&heap)))?;
    let report = &result.report;
    if report.direct {
        return expect_direct(report, 4 << 20);
    }
    ensure!(report.path == LoadPath::COPY_FILE_RANGE, "{report:?}");
    ensure!(report.bufferedBytes == 4 << 20 && report.directBytes == 0, "{report:?}");
    let not_taken: Vec<_> =
        report.notTaken.iter().map(|entry| (entry.path, entry.reason)).collect();
    let expected = [
        (LoadPath::COPY_FILE_RANGE, NotTakenReason::FILE_OPENED_BUFFERED),
        (LoadPath::BOUNCE, NotTakenReason::FILE_OPENED_BUFFERED),
    ];
    ensure!(not_taken == expected, "{report:?}");
    Ok(())
}

/// For so few bytes a buffered read costs less than opening the file again, on every kernel.
fn a_small_file_is_not_reopened_for_direct(client: &Client) -> Result<()> {
    let files = Files::new()?;
    require_direct_io(&files)?;
    let file = files.patterned("f", 5, 8 << 10)?;
    let result = client.load(LoadSpec::whole_file(file.buffered()?)?)?;
    let report = &result.report;
    ensure!(!report.direct && report.bufferedBytes == 8 << 10, "{report:?}");
    let is_explained = report.notTaken.iter().any(|not_taken| {
        not_taken.reason == NotTakenReason::REOPENING_COSTS_MORE && not_taken.detail.is_empty()
    });
    ensure!(is_explained, "{report:?}");
    let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
    view.expect(0, 8 << 10, |done, len| file.expected(done, len))
}

fn an_unaligned_buffer_offset_is_reported(client: &Client) -> Result<()> {
    let heap = client.best_heap()?.name;
    client.require_copy_file_range(&heap)?;
    let files = Files::new()?;
    require_direct_io(&files)?;
    let file = files.patterned("f", 4, 1 << 20)?;
    let segment = Segment { bufferOffsetBytes: 1, ..Default::default() };
    let spec =
        LoadSpec::default().file(file.buffered()?)?.segment(segment).into_new(new_buffer(&heap));
    let result = client.load(spec)?;
    ensure!(!result.report.direct, "{:?}", result.report);
    let reasons = [NotTakenReason::UNALIGNED, NotTakenReason::FILE_OPENED_BUFFERED];
    let not_taken = result.report.notTaken.first().context("no reason")?;
    ensure!(not_taken.direct && reasons.contains(&not_taken.reason), "{:?}", result.report);
    let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
    view.expect(1, 1 << 20, |done, len| file.expected(done, len))
}
