// SPDX-License-Identifier: Apache-2.0
//! `dmabufload load`: loads a file into a new buffer and prints the result.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context};
use dmabuf_loader_client::aidl::{
    DmaBuf::DmaBuf, NewBuffer::NewBuffer, Segment::Segment, VerityAlgorithm::VerityAlgorithm,
    VerityDigest::VerityDigest,
};
use dmabuf_loader_client::{open_for_load, LoadSpec};
use serde::Serialize;

use crate::args::{LoadArgs, ServiceArgs, Sha256Arg, TransferArgs, VerityArgs, VerityDigestArg};
use crate::buffer;
use crate::connect::{connect, Connection};
use crate::hex;
use crate::interrupt::Interrupt;
use crate::output::{print_json, Transfer};
use crate::progress::Progress;
use crate::segment::SegmentArg;
use crate::task;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    file: &'a Path,
    bytes: u64,
    sha256: String,
    /// Absent unless requested; null if the file has no fs-verity.
    #[serde(skip_serializing_if = "Option::is_none")]
    verity_digest: Option<Option<&'a str>>,
    heap: &'a str,
    device_shareable: bool,
    buffer_bytes: i64,
    service: &'static str,
    #[serde(flatten)]
    transfer: &'a Transfer,
    /// Absent where the file was loaded whole.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    segments: &'a [SegmentLine],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SegmentLine {
    file_offset_bytes: u64,
    buffer_offset_bytes: u64,
    bytes: u64,
}

/// A buffer with the content of a file.
pub struct Loaded {
    /// The buffer.
    pub buffer: DmaBuf,
    /// The ranges of the buffer that come from the file, in the order of the segments.
    pub ranges: Vec<Range<u64>>,
    /// The file's fs-verity digest, if it was requested and the file has fs-verity.
    pub verity_digest: Option<String>,
    /// How the bytes were loaded.
    pub transfer: Transfer,
}

impl Loaded {
    /// How many bytes of the buffer come from the file.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

/// Loads a file and prints the result.
pub fn run(service: &ServiceArgs, interrupt: &Interrupt, args: &LoadArgs) -> anyhow::Result<()> {
    let file = open(&args.file)?;
    let connection = connect(service, interrupt)?;
    let source = Source { file: &file, path: &args.file, segments: &args.segments };
    let loaded = load(&connection, interrupt, source, &args.transfer, &args.verity)?;
    let digest = buffer::sha256(&loaded.buffer, &loaded.ranges)?;
    let sha256 = hex::encode(digest.as_ref());
    if let Some(Sha256Arg(expected)) = args.expect_sha256 {
        ensure!(
            digest.as_ref() == expected,
            "{}: the loaded bytes have SHA-256 {sha256}, which differs from --expect-sha256",
            args.file.display()
        );
    }
    let segments: Vec<SegmentLine> = args
        .segments
        .iter()
        .zip(&loaded.ranges)
        .map(|(segment, range)| SegmentLine {
            file_offset_bytes: segment.file_offset_bytes,
            buffer_offset_bytes: range.start,
            bytes: range.end - range.start,
        })
        .collect();
    let output = Output {
        file: &args.file,
        bytes: loaded.bytes(),
        sha256,
        verity_digest: asks_for_digest(&args.verity).then_some(loaded.verity_digest.as_deref()),
        heap: &loaded.buffer.heap,
        device_shareable: loaded.buffer.deviceShareable,
        buffer_bytes: loaded.buffer.sizeBytes,
        service: connection.service,
        transfer: &loaded.transfer,
        segments: &segments,
    };
    if args.transfer.json {
        return print_json(&output);
    }
    let shareable = if output.device_shareable { "" } else { ", not device-shareable" };
    println!("{}: {} bytes", output.file.display(), output.bytes);
    println!("  in a buffer of {} bytes, heap {}{shareable}", output.buffer_bytes, output.heap);
    for SegmentLine { file_offset_bytes, buffer_offset_bytes, bytes } in output.segments {
        println!("  {bytes} bytes from {file_offset_bytes} of the file at {buffer_offset_bytes}");
    }
    loaded.transfer.print("loaded");
    println!("  sha256 {}", output.sha256);
    if let Some(digest) = output.verity_digest {
        println!("  fs-verity {}", digest.unwrap_or("none"));
    }
    Ok(())
}

fn asks_for_digest(args: &VerityArgs) -> bool {
    args.verity_digest || args.expect_verity_digest.is_some()
}

/// Opens a file to load. The error says why the file cannot be loaded.
pub fn open(path: &Path) -> anyhow::Result<File> {
    // Checked before opening: opening a FIFO would wait for a writer.
    let metadata = std::fs::metadata(path).with_context(|| format!("{}", path.display()))?;
    ensure!(!metadata.is_dir(), "{}: is a directory, expected a file", path.display());
    ensure!(metadata.is_file(), "{}: is not a regular file", path.display());
    ensure!(
        metadata.len() > 0,
        "{}: is empty, and a buffer holds at least one byte",
        path.display()
    );
    Ok(open_for_load(path)?)
}

/// What to load.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The file.
    pub file: &'a File,
    /// Its name, for messages.
    pub path: &'a Path,
    /// Its ranges; none for all of it.
    pub segments: &'a [SegmentArg],
}

impl Source<'_> {
    /// The request that loads it into a new buffer, and how many bytes that are at most.
    fn request(self, heap: &str) -> anyhow::Result<(LoadSpec, u64)> {
        let file_bytes = self.file.metadata()?.len();
        let mut new =
            NewBuffer { heap: heap.to_owned(), name: "dmabufload".to_owned(), sizeBytes: 0 };
        let mut spec = LoadSpec::default().file(self.file)?;
        if self.segments.is_empty() {
            // A file that grows meanwhile does not extend past the buffer.
            new.sizeBytes = i64::try_from(file_bytes)?;
            spec = spec.segment(Segment { lengthBytes: new.sizeBytes, ..Segment::default() });
        }
        let to_end = |offset_bytes| file_bytes.saturating_sub(offset_bytes);
        let mut bytes = if self.segments.is_empty() { file_bytes } else { 0_u64 };
        for segment in self.segments {
            let segment_bytes = segment.length_bytes.unwrap_or(u64::MAX);
            bytes = bytes.saturating_add(segment_bytes.min(to_end(segment.file_offset_bytes)));
            spec = spec.segment(segment.to_aidl());
        }
        Ok((spec.into_new(new), bytes))
    }
}

/// Loads into a new buffer.
pub fn load(
    connection: &Connection,
    interrupt: &Interrupt,
    source: Source,
    args: &TransferArgs,
    verity: &VerityArgs,
) -> anyhow::Result<Loaded> {
    let shown = source.path.display();
    let (spec, total_bytes) = source.request(&args.heap).with_context(|| format!("{shown}"))?;
    let mut spec = expect_verity(spec, verity).priority(args.priority.into());
    if let Some(millis) = args.timeout_ms {
        spec = spec.timeout(Duration::from_millis(millis));
    }
    (spec.request.policy, spec.request.namedPath) = args.policy.fields();
    let mut progress = Progress::new("loading", total_bytes);
    let start = || connection.loader.start_load(&spec, None);
    let loaded = task::run(interrupt, &mut progress, start).with_context(|| format!("{shown}"))?;
    drop(progress);
    let ranges = filled(&spec.request.segments, &loaded.segmentBytes)?;
    let digests = loaded.digests.as_ref();
    let verity_digest = digests.and_then(|digests| digests.verity.first()).map(verity_text);
    let buffer = loaded.buffer.context("the service returned no buffer")?;
    let mut transfer = Transfer::of(loaded.report);
    transfer.explain(&connection.loader, &buffer.heap)?;
    Ok(Loaded { buffer, ranges, verity_digest, transfer })
}

/// The ranges of the buffer that segments have filled.
fn filled(segments: &[Segment], segment_bytes: &[i64]) -> anyhow::Result<Vec<Range<u64>>> {
    let (asked, reported) = (segments.len(), segment_bytes.len());
    ensure!(asked == reported, "the service reported {reported} segments, expected {asked}");
    let range = |(segment, bytes): (&Segment, &i64)| {
        let start = u64::try_from(segment.bufferOffsetBytes)?;
        let end = start.checked_add(u64::try_from(*bytes)?).context("a segment is too long")?;
        Ok(start..end)
    };
    segments.iter().zip(segment_bytes).map(range).collect()
}

fn expect_verity(spec: LoadSpec, args: &VerityArgs) -> LoadSpec {
    let spec = if args.verity_digest { spec.report_verity() } else { spec };
    match args.expect_verity_digest.clone() {
        Some(VerityDigestArg { algorithm, digest }) => {
            spec.expect_verity(VerityDigest { fileIndex: 0, algorithm, digest })
        }
        None => spec,
    }
}

fn verity_text(digest: &VerityDigest) -> String {
    let algorithm = match digest.algorithm {
        VerityAlgorithm::SHA256 => "sha256",
        VerityAlgorithm::SHA512 => "sha512",
        _ => "unknown",
    };
    format!("{algorithm}:{}", hex::encode(&digest.digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_ranges_are_those_of_the_segments() {
        let segment = |offset| Segment { bufferOffsetBytes: offset, ..Segment::default() };
        let segments = [segment(4096), segment(0)];
        assert_eq!(filled(&segments, &[10, 0]).unwrap(), [4096..4106, 0..0]);
        for wrong in [&[1][..], &[1, 1, 1], &[1, -1]] {
            assert!(filled(&segments, wrong).is_err(), "{wrong:?}");
        }
    }
}
