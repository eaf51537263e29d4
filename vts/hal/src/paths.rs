// SPDX-License-Identifier: Apache-2.0
//! Tests of every path that the service supports on every heap: each moves every byte, and the
//! report names it.

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{
    LoadPath::LoadPath, LoadResult::LoadResult, LoaderError::LoaderError,
    NotTakenReason::NotTakenReason, Segment::Segment,
};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use dmabuf_uapi::page_cache::cached_pages;
use dmabuf_uapi::Errno;
use vts_support::files::{drop_cache, Files, Mode, TestFile};
use vts_support::outcome::skip;
use vts_support::pattern;

use crate::buffer::{fd, View};
use crate::client::{
    expect_refusal, new_buffer, require_direct_io, sized_buffer, Client, NamedTest,
};

pub const TESTS: &[NamedTest] = &[
    ("every_path_of_every_heap_loads_every_byte", every_path_of_every_heap_loads_every_byte),
    ("bytes_around_a_range_are_unchanged", bytes_around_a_range_are_unchanged),
    ("direct_reads_fill_the_memfd_of_a_udmabuf", direct_reads_fill_the_memfd_of_a_udmabuf),
    ("udmabuf_direct_requires_a_new_buffer", udmabuf_direct_requires_a_new_buffer),
    ("bounce_needs_no_page_cache_or_alignment", bounce_needs_no_page_cache_or_alignment),
    ("bounce_saves_every_byte", bounce_saves_every_byte),
    ("a_buffered_load_keeps_pages_of_others", a_buffered_load_keeps_pages_of_others),
    ("a_request_without_a_heap_is_not_buffered", a_request_without_a_heap_is_not_buffered),
];

fn supports(client: &Client, heap: &str, path: LoadPath) -> Result<bool> {
    let paths = client.loader.capabilities()?.paths;
    let entry = paths.into_iter().find(|entry| entry.heap == heap && entry.path == path);
    Ok(entry.with_context(|| format!("nothing on {path:?} of {heap}"))?.supported)
}

fn require(client: &Client, heap: &str, path: LoadPath) -> Result<()> {
    let has_heap = client.heaps()?.iter().any(|entry| entry.name == heap);
    if has_heap && supports(client, heap, path)? {
        Ok(())
    } else {
        Err(skip(format!("no path {path:?} on a heap {heap:?}")))
    }
}

fn named(spec: LoadSpec, path: LoadPath) -> LoadSpec {
    spec.paths([path])
}

fn segment(file_offset: u64, len: u64, buffer_offset: u64) -> Segment {
    Segment {
        fileIndex: 0,
        fileOffsetBytes: file_offset as i64,
        lengthBytes: len as i64,
        bufferOffsetBytes: buffer_offset as i64,
    }
}

fn view(result: &LoadResult) -> Result<View<'_>> {
    View::new(result.buffer.as_ref().context("no buffer")?)
}

fn every_path_of_every_heap_loads_every_byte(client: &Client) -> Result<()> {
    let files = Files::new()?;
    require_direct_io(&files)?;
    // Sizes around a block, a huge page and a bounce buffer, and one of several of each.
    let sizes = [1, 4095, 4096, 4097, (2 << 20) - 1, (2 << 20) + 1, (9 << 20) + 513];
    let sources = sizes
        .iter()
        .map(|size| files.patterned(&format!("{size}"), *size, *size).map(|file| (file, *size)))
        .collect::<Result<Vec<(TestFile, u64)>>>()?;
    let mut tried = 0;
    for heap in client.heaps()? {
        for path in LoadPath::enum_values() {
            if !supports(client, &heap.name, path)? {
                continue;
            }
            for (file, size) in &sources {
                let source = open_for_load(file.path())?;
                let spec = LoadSpec::whole_file(&source)?.into_new(new_buffer(&heap.name));
                let result = match client.loader.load(named(spec, path)) {
                    // Data that is inline in the inode is never read directly.
                    Err(error) if *size < 4096 => {
                        let code = LoaderError::PATH_UNAVAILABLE;
                        ensure!(error.code() == Some(code), "{error}");
                        continue;
                    }
                    result => result.with_context(|| format!("{path:?} {} {size}", heap.name))?,
                };
                ensure!(result.segmentBytes == [*size as i64], "{:?}", result.segmentBytes);
                let report = &result.report;
                ensure!(report.path == path || *size < 4096, "{size} bytes: {report:?}");
                let moved = report.directBytes + report.bufferedBytes;
                ensure!(moved == *size as i64, "{report:?}");
                let view = view(&result)?;
                view.expect(0, *size, |done, len| file.expected(done, len))?;
                view.expect_zero_from(*size)?;
                tried += 1;
            }
        }
    }
    println!("INFO: {tried} loads by named paths");
    ensure!(tried >= 2 * sizes.len(), "only {tried} loads");
    Ok(())
}

/// The bytes around a segment are unchanged, also in its first and last block.
fn bytes_around_a_range_are_unchanged(client: &Client) -> Result<()> {
    let files = Files::new()?;
    require_direct_io(&files)?;
    let file = files.patterned("f", 11, 6 << 20)?;
    let source = open_for_load(file.path())?;
    let ranges = [(0, 100), (4096, 4096), (4097, 8191), (12_345, 3_000_001), (1 << 20, 4 << 20)];
    for heap in client.heaps()? {
        for path in LoadPath::enum_values() {
            if !supports(client, &heap.name, path)? {
                continue;
            }
            for (offset, len) in ranges {
                let place = offset % 4096 + 8192;
                let spec = LoadSpec::default()
                    .file(&source)?
                    .segment(segment(offset, len, place))
                    .into_new(sized_buffer(&heap.name, 8 << 20));
                let what = || format!("{path:?} {} {offset} {len}", heap.name);
                let result = client.load(named(spec, path)).with_context(what)?;
                let view = view(&result)?;
                view.expect(0, place, |_, len| vec![0; len]).with_context(what)?;
                view.expect(place, len, |done, len| file.expected(offset + done, len))
                    .with_context(what)?;
                view.expect_zero_from(place + len).with_context(what)?;
            }
        }
    }
    Ok(())
}

fn cached(file: &std::fs::File) -> Result<u64> {
    match cached_pages(file) {
        Err(Errno::NOSYS) => Err(skip("the kernel has no cachestat(2)")),
        pages => pages.context("cachestat"),
    }
}

fn direct_reads_fill_the_memfd_of_a_udmabuf(client: &Client) -> Result<()> {
    require(client, "udmabuf", LoadPath::UDMABUF_DIRECT)?;
    let files = Files::new()?;
    require_direct_io(&files)?;
    for size in [32 << 20, (20 << 20) + 7] {
        let file = files.patterned("f", 3, size)?;
        let watched = file.buffered()?;
        drop_cache(&watched)?;
        let before = cached(&watched)?;
        let source = open_for_load(file.path())?;
        let spec = LoadSpec::whole_file(&source)?.into_new(new_buffer("udmabuf"));
        let result = client.load(named(spec, LoadPath::UDMABUF_DIRECT))?;
        let after = cached(&watched)?;
        ensure!(after <= before, "the page cache of the file grew from {before} to {after} pages");
        let report = &result.report;
        ensure!(report.direct && report.path == LoadPath::UDMABUF_DIRECT, "{report:?}");
        ensure!(report.directBytes == (size - size % 4096) as i64, "{report:?}");
        println!("INFO: {size} bytes by UDMABUF_DIRECT, page cache {before} to {after} pages");
        let view = view(&result)?;
        view.expect(0, size, |done, len| file.expected(done, len))?;
        view.expect_zero_from(size)?;
    }
    Ok(())
}

fn udmabuf_direct_requires_a_new_buffer(client: &Client) -> Result<()> {
    require(client, "udmabuf", LoadPath::UDMABUF_DIRECT)?;
    let files = Files::new()?;
    require_direct_io(&files)?;
    let file = files.patterned("f", 4, 1 << 20)?;
    let source = open_for_load(file.path())?;
    let buffer = client.loader.allocate(&sized_buffer("udmabuf", 1 << 20))?;
    let argument = "paths: none is possible for segments[0]: UDMABUF_DIRECT";
    let spec = LoadSpec::whole_file(&source)?.into_existing(fd(&buffer)?)?;
    let refused = client.loader.load(named(spec, LoadPath::UDMABUF_DIRECT));
    expect_refusal(refused, LoaderError::PATH_UNAVAILABLE, argument)?;

    let spec = LoadSpec::whole_file(&source)?.into_existing(fd(&buffer)?)?;
    let report = client.load(named(spec, LoadPath::BUFFERED))?.report;
    let entry = report.notTaken.iter().find(|entry| entry.path == LoadPath::UDMABUF_DIRECT);
    let reason = entry.context("no reason")?.reason;
    ensure!(reason == NotTakenReason::EXCLUDED_BY_POLICY, "{report:?}");
    let view = View::new(&buffer)?;
    view.expect(0, 1 << 20, |done, len| file.expected(done, len))
}

fn bounce_needs_no_page_cache_or_alignment(client: &Client) -> Result<()> {
    let heap = client.best_heap()?.name;
    let files = Files::new()?;
    require_direct_io(&files)?;
    let size = (5 << 20) + 77;
    let file = files.patterned("f", 5, size)?;
    let watched = file.buffered()?;
    drop_cache(&watched)?;
    let before = cached(&watched)?;
    let source = open_for_load(file.path())?;
    let spec = LoadSpec::default()
        .file(&source)?
        .segment(segment(13, size - 13, 4097))
        .into_new(new_buffer(&heap));
    let result = client.load(named(spec, LoadPath::BOUNCE))?;
    let after = cached(&watched)?;
    ensure!(after <= before, "the page cache of the file grew from {before} to {after} pages");
    let report = &result.report;
    ensure!(report.path == LoadPath::BOUNCE && !report.direct, "{report:?}");
    ensure!(report.bufferedBytes == size as i64 - 13 && report.directBytes == 0, "{report:?}");
    let view = view(&result)?;
    view.expect(0, 4097, |_, len| vec![0; len])?;
    view.expect(4097, size - 13, |done, len| file.expected(13 + done, len))?;
    view.expect_zero_from(4097 + size - 13)
}

fn bounce_saves_every_byte(client: &Client) -> Result<()> {
    let heap = client.best_heap()?.name;
    let files = Files::new()?;
    require_direct_io(&files)?;
    let size: u64 = 7 << 20;
    let file = files.patterned("f", 6, size)?;
    let source = open_for_load(file.path())?;
    let loaded = client.load(LoadSpec::whole_file(&source)?.into_new(new_buffer(&heap)))?;
    let path = files.path("target");
    let target = Mode::Direct.open_output(&path)?;
    let buffer = loaded.buffer.context("no buffer")?;
    let spec = SaveSpec::from_buffer(fd(&buffer)?)?
        .file(&target)?
        .segment(segment(4096, size - 8192, 4096))
        .paths([LoadPath::BOUNCE]);
    let saved = client.loader.save(spec)?;
    ensure!(saved.report.path == LoadPath::BOUNCE, "{:?}", saved.report);
    let seen = vts_support::files::content(&path)?;
    ensure!(seen.len() as u64 == size - 4096, "{} bytes", seen.len());
    pattern::assert_filled(&seen[..4096], 0, "the hole before the segment");
    pattern::assert_same(&seen[4096..], &file.expected(4096, seen.len() - 4096), "saved");
    Ok(())
}

/// Pages that were cached before stay; pages that the load cached are dropped.
fn a_buffered_load_keeps_pages_of_others(client: &Client) -> Result<()> {
    let heap = client.best_heap()?.name;
    let files = Files::new()?;
    let file = files.patterned("f", 7, 48 << 20)?;
    let watched = file.buffered()?;
    let load = || {
        let spec = LoadSpec::whole_file(file.buffered()?)?.into_new(new_buffer(&heap));
        client.load(named(spec, LoadPath::BUFFERED)).map(|result| result.report)
    };
    drop_cache(&watched)?;
    load()?;
    // The kernel tells who may write the file or owns it what is cached: of other files, all stays.
    println!("INFO: {} pages after a load of a file that was not cached", cached(&watched)?);
    std::io::copy(&mut file.buffered()?, &mut std::io::sink())?;
    let before = cached(&watched)?;
    load()?;
    let after = cached(&watched)?;
    ensure!(after >= before - before / 10, "{before} cached pages before the load, {after} after");
    Ok(())
}

fn a_request_without_a_heap_is_not_buffered(client: &Client) -> Result<()> {
    let files = Files::new()?;
    require_direct_io(&files)?;
    for size in [4096, 4 << 20, (32 << 20) + 5] {
        let file = files.patterned("f", 8, size)?;
        let source = open_for_load(file.path())?;
        let result = client.load(LoadSpec::whole_file(&source)?)?;
        let buffer = result.buffer.as_ref().context("no buffer")?;
        ensure!(buffer.deviceShareable, "{buffer:?}");
        ensure!(client.heaps()?.iter().any(|heap| heap.name == buffer.heap), "{buffer:?}");
        let report = &result.report;
        println!(
            "INFO: {size} bytes into heap {} by {:?} direct={}",
            buffer.heap, report.path, report.direct
        );
        ensure!(report.path != LoadPath::BUFFERED, "{report:?}");
        let view = view(&result)?;
        view.expect(0, size, |done, len| file.expected(done, len))?;
    }
    Ok(())
}
