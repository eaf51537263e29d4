// SPDX-License-Identifier: Apache-2.0
//! Tests of loading one range of one file: every size and offset, compared byte for byte.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{
    LoadResult::LoadResult, LoaderError::LoaderError, Segment::Segment,
};
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::{Files, TestFile};

use crate::buffer::{fd, own_system_heap, View};
use crate::client::{expect_refusal, new_buffer, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("files_of_every_size_arrive_whole", files_of_every_size_arrive_whole),
    ("a_300_mib_file_arrives_whole", a_300_mib_file_arrives_whole),
    ("an_empty_file_fills_nothing", an_empty_file_fills_nothing),
    ("ranges_at_any_offset_arrive", ranges_at_any_offset_arrive),
    ("a_range_past_the_end_is_cut", a_range_past_the_end_is_cut),
    ("holes_are_zero", holes_are_zero),
    ("the_rest_of_an_existing_buffer_is_unchanged", the_rest_of_an_existing_buffer_is_unchanged),
    ("a_buffer_of_the_client_is_filled", a_buffer_of_the_client_is_filled),
    ("several_loads_at_once", several_loads_at_once),
];

/// Reads the file by a buffered open, independent of the service and of the pattern.
fn read_range(file: &TestFile, offset_bytes: u64, len_bytes: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len_bytes];
    file.buffered()?.read_exact_at(&mut bytes, offset_bytes).context("reading the file")?;
    Ok(bytes)
}

fn expect_loaded(result: &LoadResult, file: &TestFile, offset: u64, len: u64) -> Result<()> {
    ensure!(result.segmentBytes == [len as i64], "{:?}, expected {len}", result.segmentBytes);
    let report = &result.report;
    ensure!(report.directBytes + report.bufferedBytes == len as i64, "{report:?}");
    let buffer = result.buffer.as_ref().context("no buffer")?;
    let view = View::new(buffer)?;
    let contents = file.buffered()?;
    view.expect(0, len, |done, chunk| {
        let mut bytes = vec![0; chunk];
        contents.read_exact_at(&mut bytes, offset + done).expect("reading the file");
        bytes
    })?;
    view.expect_zero_from(len)
}

fn load_whole(client: &Client, heap: &str, size: u64) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", size, size)?;
    let source = open_for_load(file.path())?;
    let spec = LoadSpec::whole_file(&source)?.into_new(new_buffer(heap));
    let result = client.load(spec).with_context(|| format!("{size} bytes into {heap}"))?;
    expect_loaded(&result, &file, 0, size).with_context(|| format!("{size} bytes into {heap}"))
}

fn files_of_every_size_arrive_whole(client: &Client) -> Result<()> {
    for heap in client.heaps()? {
        for size in [1, 511, 512, 4095, 4096, 4097, 65_536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1] {
            load_whole(client, &heap.name, size)?;
        }
    }
    Ok(())
}

fn a_300_mib_file_arrives_whole(client: &Client) -> Result<()> {
    load_whole(client, "", (300 << 20) + 123)
}

fn an_empty_file_fills_nothing(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let empty = files.patterned("f", 1, 0)?;
    let source = open_for_load(empty.path())?;
    let refused = client.loader.load(LoadSpec::whole_file(&source)?);
    expect_refusal(refused, LoaderError::BAD_ARGUMENT, "target.newBuffer.sizeBytes: ")?;
    let spec = LoadSpec::whole_file(&source)?.into_new(sized_buffer("", 4096));
    let result = client.load(spec)?;
    ensure!(result.segmentBytes == [0], "{:?}", result.segmentBytes);
    let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
    view.expect_zero_from(0)
}

fn ranges_at_any_offset_arrive(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 3, 3_000_001)?;
    for (what, source) in [("direct", file.direct()?), ("buffered", file.buffered()?)] {
        for file_offset in [0, 1, 511, 4095, 4096, 1 << 20] {
            for buffer_offset in [0, 1, 512, 4096] {
                for len in [1, 4096, 10_000, 1 << 20] {
                    let segment = Segment {
                        fileIndex: 0,
                        fileOffsetBytes: file_offset,
                        lengthBytes: len,
                        bufferOffsetBytes: buffer_offset,
                    };
                    let spec = LoadSpec::default().file(&source)?.segment(segment);
                    let case = format!("{what}: {len} from {file_offset} to {buffer_offset}");
                    let result = client.load(spec).with_context(|| case.clone())?;
                    ensure!(result.segmentBytes == [len], "{case}: {:?}", result.segmentBytes);
                    let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
                    let (from, to) = (file_offset as u64, buffer_offset as u64);
                    view.expect(0, to, |_, chunk| vec![0; chunk])?;
                    view.expect(to, len as u64, |done, chunk| file.expected(from + done, chunk))
                        .with_context(|| case.clone())?;
                    view.expect_zero_from(to + len as u64).with_context(|| case)?;
                }
            }
        }
    }
    Ok(())
}

fn a_range_past_the_end_is_cut(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 4, 10_000)?;
    let source = open_for_load(file.path())?;
    for (offset, asked, loaded) in
        [(8192, 4096, 1808), (9999, 2, 1), (10_000, 1, 0), (1 << 40, 9, 0)]
    {
        let segment = Segment { fileOffsetBytes: offset, lengthBytes: asked, ..Default::default() };
        let spec = LoadSpec::default().file(&source)?.segment(segment);
        let result = client.load(spec)?;
        ensure!(result.segmentBytes == [loaded], "{offset}: {:?}", result.segmentBytes);
        let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
        let bytes = view.bytes(0, loaded as usize)?;
        ensure!(bytes == file.expected(offset as u64, loaded as usize), "bytes from {offset}");
        view.expect_zero_from(loaded as u64)?;
    }
    Ok(())
}

fn holes_are_zero(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.sparse("f", 5, 5_000_000, 6_000_001)?;
    let source = open_for_load(file.path())?;
    let result = client.load(LoadSpec::whole_file(&source)?)?;
    ensure!(result.segmentBytes == [6_000_001], "{:?}", result.segmentBytes);
    let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
    view.expect(0, 5_000_000, |_, len| vec![0; len])?;
    view.expect(5_000_000, 1_000_001, |done, len| file.expected(5_000_000 + done, len))?;
    let read = read_range(&file, 4_999_000, 2000)?;
    ensure!(view.bytes(4_999_000, 2000)? == read, "bytes around the end of the hole");
    Ok(())
}

fn the_rest_of_an_existing_buffer_is_unchanged(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 6, 70_001)?;
    for heap in client.heaps()? {
        let buffer = client.loader.allocate(&sized_buffer(&heap.name, 200_000))?;
        View::new(&buffer)?.write(0, &vec![0xa5; buffer.sizeBytes as usize])?;
        let source = open_for_load(file.path())?;
        let segment = Segment { bufferOffsetBytes: 8192, ..Default::default() };
        let spec = LoadSpec::default().file(&source)?.segment(segment);
        let result = client.load(spec.into_existing(fd(&buffer)?)?)?;
        ensure!(result.buffer.is_none(), "a second buffer");
        let view = View::new(&buffer)?;
        view.expect(0, 8192, |_, len| vec![0xa5; len])?;
        view.expect(8192, 70_001, |done, len| file.expected(done, len))?;
        let end = 8192 + 70_001;
        view.expect(end, buffer.sizeBytes as u64 - end, |_, len| vec![0xa5; len])?;
    }
    Ok(())
}

/// A buffer that the client allocated itself behaves as one that the service allocated.
fn a_buffer_of_the_client_is_filled(client: &Client) -> Result<()> {
    let own = dmabuf_uapi::dma_heap::allocate(own_system_heap()?, 1 << 20)?;
    let files = Files::new()?;
    let file = files.patterned("f", 7, 1 << 20)?;
    let source = open_for_load(file.path())?;
    let result = client.load(LoadSpec::whole_file(&source)?.into_existing(&own)?)?;
    ensure!(result.segmentBytes == [1 << 20], "{:?}", result.segmentBytes);
    let buffer = dmabuf_loader_client::aidl::DmaBuf::DmaBuf {
        fd: Some(binder::ParcelFileDescriptor::new(own)),
        sizeBytes: 1 << 20,
        ..Default::default()
    };
    let view = View::new(&buffer)?;
    view.expect(0, 1 << 20, |done, len| file.expected(done, len))
}

fn several_loads_at_once(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let sources: Vec<(TestFile, File)> = (0..4)
        .map(|seed| {
            let file = files.patterned(&format!("f{seed}"), seed, (8 << 20) + seed)?;
            let source = open_for_load(file.path())?;
            Ok((file, source))
        })
        .collect::<Result<_>>()?;
    let work = |(file, source): &(TestFile, File)| -> Result<()> {
        for _ in 0..3 {
            let result = client.load(LoadSpec::whole_file(source)?)?;
            expect_loaded(&result, file, 0, source.metadata()?.len())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            sources.iter().map(|source| scope.spawn(move || work(source))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}
