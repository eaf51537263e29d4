// SPDX-License-Identifier: Apache-2.0
//! Tests that numbers outside their range are refused with the name of the field, by load and save
//! alike.

use anyhow::{Context, Result};
use dmabuf_loader_client::aidl::{LoaderError::LoaderError, Segment::Segment};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use vts_support::files::{Files, TestFile};

use crate::buffer::fd;
use crate::client::{expect_refusal, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("negative_numbers_are_refused", negative_numbers_are_refused),
    ("sums_that_overflow_are_refused", sums_that_overflow_are_refused),
    ("segments_outside_the_buffer_are_refused", segments_outside_the_buffer_are_refused),
    ("counts_outside_their_range_are_refused", counts_outside_their_range_are_refused),
    ("file_indices_out_of_range_are_refused", file_indices_out_of_range_are_refused),
];

fn load_spec(file: &TestFile, segment: Segment) -> Result<LoadSpec> {
    let source = open_for_load(file.path())?;
    Ok(LoadSpec::default().file(&source)?.segment(segment))
}

/// Expects that load and save both refuse the segment with the same argument.
fn both_refuse(client: &Client, segment: Segment, argument: &str) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 10_000)?;
    let copy = |segment: &Segment| Segment {
        fileIndex: segment.fileIndex,
        fileOffsetBytes: segment.fileOffsetBytes,
        lengthBytes: segment.lengthBytes,
        bufferOffsetBytes: segment.bufferOffsetBytes,
    };
    let refused = client.loader.load(load_spec(&file, copy(&segment))?);
    expect_refusal(refused, LoaderError::BAD_ARGUMENT, argument)
        .with_context(|| format!("load of {segment:?}"))?;
    let buffer = client.loader.allocate(&sized_buffer("", 4096))?;
    let target = std::fs::File::create(files.path("target"))?;
    let spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(&target)?.segment(copy(&segment));
    expect_refusal(client.loader.save(spec), LoaderError::BAD_ARGUMENT, argument)
        .with_context(|| format!("save of {segment:?}"))
}

fn negative_numbers_are_refused(client: &Client) -> Result<()> {
    let segment = Segment::default;
    for number in [-1, i64::MIN] {
        let bad = Segment { fileOffsetBytes: number, ..segment() };
        both_refuse(client, bad, "segments[0].fileOffsetBytes: ")?;
        let bad = Segment { bufferOffsetBytes: number, ..segment() };
        both_refuse(client, bad, "segments[0].bufferOffsetBytes: ")?;
    }
    for number in [-2, i64::MIN] {
        let bad = Segment { lengthBytes: number, ..segment() };
        both_refuse(client, bad, "segments[0].lengthBytes: ")?;
    }
    both_refuse(client, Segment { fileIndex: -1, ..segment() }, "segments[0].fileIndex: ")
}

fn sums_that_overflow_are_refused(client: &Client) -> Result<()> {
    let max = i64::MAX;
    let bad = Segment { fileOffsetBytes: max, lengthBytes: 1, ..Default::default() };
    both_refuse(client, bad, "segments[0].fileOffsetBytes: ")?;
    let bad = Segment { fileOffsetBytes: 1, lengthBytes: max, ..Default::default() };
    both_refuse(client, bad, "segments[0].fileOffsetBytes: ")?;
    let bad = Segment { bufferOffsetBytes: max, lengthBytes: 1, ..Default::default() };
    both_refuse(client, bad, "segments[0].bufferOffsetBytes: ")?;

    let files = Files::new()?;
    let file = files.patterned("f", 1, 10_000)?;
    let spec =
        load_spec(&file, Segment { bufferOffsetBytes: max, lengthBytes: 0, ..Default::default() })?;
    let argument = "target.newBuffer.sizeBytes: ";
    expect_refusal(client.loader.load(spec), LoaderError::BAD_ARGUMENT, argument)
}

fn segments_outside_the_buffer_are_refused(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4097)?;
    let argument = "segments[0].bufferOffsetBytes: ";
    let spec = load_spec(&file, Segment::default())?.into_new(sized_buffer("", 4096));
    expect_refusal(client.loader.load(spec), LoaderError::BAD_ARGUMENT, argument)?;
    let buffer = client.loader.allocate(&sized_buffer("", 4096))?;
    let spec = load_spec(&file, Segment::default())?.into_existing(fd(&buffer)?)?;
    expect_refusal(client.loader.load(spec), LoaderError::BAD_ARGUMENT, argument)
}

fn counts_outside_their_range_are_refused(client: &Client) -> Result<()> {
    let capabilities = client.loader.capabilities()?;
    let files = Files::new()?;
    let file = files.patterned("f", 1, 10)?;
    let source = open_for_load(file.path())?;
    let no_file = LoadSpec::default().segment(Segment::default());
    expect_refusal(client.loader.load(no_file), LoaderError::BAD_ARGUMENT, "files: ")?;
    let no_segment = LoadSpec::default().file(&source)?.file(&source)?;
    expect_refusal(client.loader.load(no_segment), LoaderError::BAD_ARGUMENT, "segments: ")?;

    let mut many = LoadSpec::default().file(&source)?;
    for index in 0..=i64::from(capabilities.maxSegments) {
        many = many.segment(Segment {
            lengthBytes: 1,
            bufferOffsetBytes: index,
            ..Default::default()
        });
    }
    expect_refusal(client.loader.load(many), LoaderError::BAD_ARGUMENT, "segments: ")?;

    let mut many = LoadSpec::default().segment(Segment::default());
    for _ in 0..=capabilities.maxFiles {
        many = many.file(&source)?;
    }
    expect_refusal(client.loader.load(many), LoaderError::BAD_ARGUMENT, "files: ")
}

fn file_indices_out_of_range_are_refused(client: &Client) -> Result<()> {
    for index in [1, i32::MAX] {
        let bad = Segment { fileIndex: index, ..Default::default() };
        both_refuse(client, bad, "segments[0].fileIndex: ")?;
    }
    Ok(())
}
