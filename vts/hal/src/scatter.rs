// SPDX-License-Identifier: Apache-2.0
//! Tests of loading many ranges of several files into one buffer.

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{LoaderError::LoaderError, Segment::Segment};
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::Files;

use crate::buffer::View;
use crate::client::{expect_refusal, new_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("segments_of_several_files_arrive", segments_of_several_files_arrive),
    ("segments_may_share_a_block", segments_may_share_a_block),
    ("hundreds_of_segments_in_any_order", hundreds_of_segments_in_any_order),
    ("overlapping_segments_are_refused", overlapping_segments_are_refused),
];

fn segment(file: i32, file_offset: i64, len: i64, buffer_offset: i64) -> Segment {
    Segment {
        fileIndex: file,
        fileOffsetBytes: file_offset,
        lengthBytes: len,
        bufferOffsetBytes: buffer_offset,
    }
}

fn segments_of_several_files_arrive(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let sources = [files.patterned("a", 1, 1 << 20)?, files.patterned("b", 2, 300_007)?];
    for heap in client.heaps()? {
        let mut spec = LoadSpec::default().into_new(new_buffer(&heap.name));
        for source in &sources {
            spec = spec.file(open_for_load(source.path())?)?;
        }
        let spec = spec
            .segment(segment(1, 7, Segment::default().lengthBytes, 2 << 20))
            .segment(segment(0, 4096, 500_000, 4096))
            .segment(segment(1, 0, 100, 10));
        let result = client.load(spec)?;
        ensure!(result.segmentBytes == [300_000, 500_000, 100], "{:?}", result.segmentBytes);
        let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
        view.expect(0, 10, |_, len| vec![0; len])?;
        view.expect(10, 100, |done, len| sources[1].expected(done, len))?;
        view.expect(110, 4096 - 110, |_, len| vec![0; len])?;
        view.expect(4096, 500_000, |done, len| sources[0].expected(4096 + done, len))?;
        let end = 4096 + 500_000;
        view.expect(end, (2 << 20) - end, |_, len| vec![0; len])?;
        view.expect(2 << 20, 300_000, |done, len| sources[1].expected(7 + done, len))?;
        view.expect_zero_from((2 << 20) + 300_000)?;
    }
    Ok(())
}

/// Loading a file's partial last block must not change the bytes of another segment in the rest of
/// that block.
fn segments_may_share_a_block(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let (first, second) = (files.patterned("a", 3, 8192 + 100)?, files.patterned("b", 4, 5000)?);
    let heap = client.best_heap()?.name;
    for first_comes_first in [true, false] {
        let whole = Segment::default().lengthBytes;
        let mut segments = vec![segment(0, 0, whole, 0), segment(1, 0, whole, 8192 + 100)];
        if !first_comes_first {
            segments.reverse();
        }
        let mut spec = LoadSpec::default()
            .into_new(new_buffer(&heap))
            .file(open_for_load(first.path())?)?
            .file(open_for_load(second.path())?)?;
        for segment in segments {
            spec = spec.segment(segment);
        }
        let result = client.load(spec)?;
        let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
        view.expect(0, 8292, |done, len| first.expected(done, len))?;
        view.expect(8292, 5000, |done, len| second.expected(done, len))?;
        view.expect_zero_from(13_292)?;
    }
    Ok(())
}

fn hundreds_of_segments_in_any_order(client: &Client) -> Result<()> {
    const COUNT: i64 = 600;
    let files = Files::new()?;
    let file = files.patterned("f", 5, 4 << 20)?;
    let mut spec = LoadSpec::default().file(open_for_load(file.path())?)?;
    let place =
        |index: i64| (index * 7919 % (4 << 20), (index * 389) % 6000, index * 6144 + index % 3);
    // In descending order, so that neither file nor buffer offsets ascend.
    for index in (0..COUNT).rev() {
        let (file_offset, len, buffer_offset) = place(index);
        spec = spec.segment(segment(0, file_offset, len, buffer_offset));
    }
    let result = client.load(spec)?;
    let lengths: Vec<i64> = (0..COUNT).rev().map(|index| place(index).1).collect();
    ensure!(result.segmentBytes == lengths, "{:?}", result.segmentBytes);
    let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
    for index in 0..COUNT {
        let (file_offset, len, buffer_offset) = place(index);
        let seen = view.bytes(buffer_offset as u64, len as usize)?;
        let expected = file.expected(file_offset as u64, len as usize);
        vts_support::pattern::assert_same(&seen, &expected, &format!("segment {index}"));
    }
    Ok(())
}

fn overlapping_segments_are_refused(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 6, 10_000)?;
    let spec = LoadSpec::default()
        .file(open_for_load(file.path())?)?
        .segment(segment(0, 0, 5000, 4000))
        .segment(segment(0, 0, 4001, 0));
    let argument = "segments[0].bufferOffsetBytes: overlaps segments[1]";
    expect_refusal(client.loader.load(spec), LoaderError::BAD_ARGUMENT, argument)
}
