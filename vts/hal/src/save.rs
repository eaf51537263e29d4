// SPDX-License-Identifier: Apache-2.0
//! Tests of saving buffers to files.

use std::fs::{File, OpenOptions};

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{
    DmaBuf::DmaBuf, LoaderError::LoaderError, SaveResult::SaveResult, Segment::Segment,
};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use vts_support::files::{content, Files, Mode, TestFile};
use vts_support::pattern;

use crate::buffer::{fd, View};
use crate::client::{expect_refusal, new_buffer, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("a_saved_file_equals_the_loaded_file", a_saved_file_equals_the_loaded_file),
    ("a_saved_file_can_be_loaded_again", a_saved_file_can_be_loaded_again),
    ("without_segments_everything_is_moved", without_segments_everything_is_moved),
    ("ranges_at_any_offset_are_saved", ranges_at_any_offset_are_saved),
    ("bytes_outside_the_segments_are_unchanged", bytes_outside_the_segments_are_unchanged),
    ("a_direct_file_takes_whole_blocks_only", a_direct_file_takes_whole_blocks_only),
    ("a_range_past_the_buffer_is_refused", a_range_past_the_buffer_is_refused),
];

fn loaded(client: &Client, heap: &str, file: &TestFile) -> Result<DmaBuf> {
    let source = open_for_load(file.path())?;
    let result = client.load(LoadSpec::whole_file(&source)?.into_new(new_buffer(heap)))?;
    result.buffer.context("no buffer")
}

fn save(client: &Client, buffer: &DmaBuf, file: &File, segment: Segment) -> Result<SaveResult> {
    let spec = SaveSpec::from_buffer(fd(buffer)?)?.file(file)?.segment(segment);
    client.loader.save(spec).context("save")
}

fn a_saved_file_equals_the_loaded_file(client: &Client) -> Result<()> {
    let files = Files::new()?;
    for heap in client.heaps()? {
        for mode in Mode::ALL {
            for size in [4096, 1 << 20, 33 << 20] {
                let file = files.patterned("source", 1, size)?;
                let buffer = loaded(client, &heap.name, &file)?;
                let path = files.path("target");
                let target = mode.open_output(&path)?;
                let result = save(client, &buffer, &target, Segment::default())?;
                ensure!(result.segmentBytes == [size as i64], "{:?}", result.segmentBytes);
                let expected = file.expected(0, size as usize);
                pattern::assert_same(&content(&path)?, &expected, "saved file");
                std::fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

fn a_saved_file_can_be_loaded_again(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("source", 2, 1_234_567)?;
    let heap = client.best_heap()?.name;
    let buffer = loaded(client, &heap, &file)?;
    let path = files.path("target");
    let segment = Segment { lengthBytes: 1_234_567, ..Default::default() };
    save(client, &buffer, &File::create(&path)?, segment)?;
    let again = client.load(LoadSpec::whole_file(open_for_load(&path)?)?)?;
    let view_of = again.buffer.context("no buffer")?;
    let view = View::new(&view_of)?;
    view.expect(0, 1_234_567, |done, len| file.expected(done, len))?;
    view.expect_zero_from(1_234_567)
}

fn without_segments_everything_is_moved(client: &Client) -> Result<()> {
    const SIZE_BYTES: usize = 3 * 4096;
    let files = Files::new()?;
    let file = files.patterned("source", 5, SIZE_BYTES as u64)?;
    let path = files.path("target");
    let source = open_for_load(file.path())?;
    for whole in [LoadSpec::default(), LoadSpec::default().segment(Segment::default())] {
        let loaded = client.load(whole.file(&source)?)?;
        ensure!(loaded.segmentBytes == [SIZE_BYTES as i64], "{:?}", loaded.segmentBytes);
        let buffer = loaded.buffer.context("no buffer")?;
        let spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(File::create(&path)?)?;
        let saved = client.loader.save(spec)?.segmentBytes;
        ensure!(saved == [SIZE_BYTES as i64], "{saved:?}");
        pattern::assert_same(&content(&path)?, &file.expected(0, SIZE_BYTES), "saved file");
    }
    let two = SaveSpec::from_buffer(fd(&client.loader.allocate(&sized_buffer("", 4096))?)?)?
        .file(File::create(&path)?)?
        .file(File::create(&path)?)?;
    expect_refusal(client.loader.save(two), LoaderError::BAD_ARGUMENT, "segments: ")
}

fn ranges_at_any_offset_are_saved(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("source", 3, 100_000)?;
    let heap = client.best_heap()?.name;
    let buffer = loaded(client, &heap, &file)?;
    for (buffer_offset, file_offset, len) in
        [(0, 1, 1), (4095, 4097, 5000), (1, 1, 90_000), (4096, 8192, 8192), (7, 0, 0)]
    {
        let path = files.path("target");
        let segment = Segment {
            fileIndex: 0,
            fileOffsetBytes: file_offset,
            lengthBytes: len,
            bufferOffsetBytes: buffer_offset,
        };
        let result = save(client, &buffer, &File::create(&path)?, segment)?;
        ensure!(result.segmentBytes == [len], "{:?}", result.segmentBytes);
        let saved = content(&path)?;
        if len == 0 {
            ensure!(saved.is_empty(), "an empty range made {} bytes", saved.len());
            continue;
        }
        let (hole, rest) = saved.split_at(file_offset as usize);
        pattern::assert_filled(hole, 0, "before the range");
        pattern::assert_same(rest, &file.expected(buffer_offset as u64, len as usize), "range");
    }
    Ok(())
}

fn bytes_outside_the_segments_are_unchanged(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let buffer = loaded(client, "", &files.patterned("source", 4, 8192)?)?;
    let path = files.path("target");
    std::fs::write(&path, vec![0xa5; 20_000])?;
    let target = OpenOptions::new().write(true).open(&path)?;
    let segment = Segment { fileOffsetBytes: 5000, lengthBytes: 6000, ..Default::default() };
    save(client, &buffer, &target, segment)?;
    let saved = content(&path)?;
    ensure!(saved.len() == 20_000, "{} bytes", saved.len());
    pattern::assert_filled(&saved[..5000], 0xa5, "before");
    pattern::assert_same(&saved[5000..11_000], &pattern::bytes(4, 0, 6000), "range");
    pattern::assert_filled(&saved[11_000..], 0xa5, "after");
    Ok(())
}

/// The service may reopen the file without O_DIRECT if its policy permits; else it names the
/// unaligned segment.
fn a_direct_file_takes_whole_blocks_only(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let buffer = loaded(client, "", &files.patterned("source", 5, 8192)?)?;
    let path = files.path("target");
    let target = Mode::Direct.open_output(&path)?;
    let segment = Segment { lengthBytes: 5000, ..Default::default() };
    let spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(&target)?.segment(segment);
    match client.loader.save(spec) {
        Ok(result) => {
            ensure!(result.segmentBytes == [5000], "{:?}", result.segmentBytes);
            pattern::assert_same(&content(&path)?, &pattern::bytes(5, 0, 5000), "saved file");
            Ok(())
        }
        refused => expect_refusal(refused, LoaderError::BAD_ARGUMENT, "segments[0]: "),
    }
}

fn a_range_past_the_buffer_is_refused(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let buffer = client.loader.allocate(&sized_buffer("", 4096))?;
    let target = File::create(files.path("target"))?;
    let segment = Segment { lengthBytes: 4096, bufferOffsetBytes: 1, ..Default::default() };
    let spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(&target)?.segment(segment);
    let argument = "segments[0].bufferOffsetBytes: ";
    expect_refusal(client.loader.save(spec), LoaderError::BAD_ARGUMENT, argument)?;
    ensure!(target.metadata()?.len() == 0, "the refused save wrote");
    Ok(())
}
