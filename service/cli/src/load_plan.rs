// SPDX-License-Identifier: Apache-2.0
//! Loads ranges of a file into a new buffer, by as many requests as that takes.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context};
use dmabuf_loader_client::aidl::{
    DmaBuf::DmaBuf, LoadResult::LoadResult, NewBuffer::NewBuffer, VerityAlgorithm::VerityAlgorithm,
    VerityDigest::VerityDigest,
};
use dmabuf_loader_client::{open_for_load, LoadSpec};

use crate::args::{TransferArgs, VerityArgs, VerityDigestArg};
use crate::buffer;
use crate::connect::Connection;
use crate::hex;
use crate::interrupt::Interrupt;
use crate::output::Transfer;
use crate::progress::Progress;
use crate::segment::SegmentSpec;
use crate::task;

/// A buffer with what was loaded.
pub struct Loaded {
    /// The buffer.
    pub buffer: DmaBuf,
    /// The ranges of the buffer that come from the file, one for each segment.
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
pub struct Plan<'a> {
    /// The file.
    pub file: &'a File,
    /// Its ranges: at least one.
    pub segments: Vec<SegmentSpec>,
    /// How many segments a request may have; the first request makes the buffer.
    pub most_segments: usize,
    /// The size of the buffer; 0 for what the segments of the only request need.
    pub buffer_bytes: u64,
    /// How many bytes that are at most.
    pub total_bytes: u64,
}

/// The options of every request of a load.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    pub transfer: &'a TransferArgs,
    pub verity: &'a VerityArgs,
}

/// Loads into a new buffer.
pub fn load(
    connection: &Connection,
    interrupt: &Interrupt,
    plan: &Plan,
    options: Options,
) -> anyhow::Result<Loaded> {
    let mut progress = Progress::new("loading", plan.total_bytes);
    let mut loaded: Option<Loaded> = None;
    for segments in plan.segments.chunks(plan.most_segments) {
        let buffer = loaded.as_ref().map(|loaded| &loaded.buffer);
        let spec = plan.request(segments, buffer, options)?;
        let start = || connection.loader.start_load(&spec, None);
        let result: LoadResult = task::run(interrupt, &mut progress, start)?;
        let mut ranges = filled(segments, &result.segmentBytes)?;
        progress.request_ended(ranges.iter().map(|range| range.end - range.start).sum());
        match &mut loaded {
            Some(loaded) => {
                loaded.ranges.append(&mut ranges);
                loaded.transfer.add(Transfer::of(result.report));
            }
            None => {
                let digests = result.digests.as_ref();
                let verity = digests.and_then(|digests| digests.verity.first()).map(verity_text);
                let buffer = result.buffer.context("the service returned no buffer")?;
                let transfer = Transfer::of(result.report);
                loaded = Some(Loaded { buffer, ranges, verity_digest: verity, transfer });
            }
        }
    }
    let mut loaded = loaded.context("there is nothing to load")?;
    loaded.transfer.explain(&connection.loader, &loaded.buffer.heap)?;
    Ok(loaded)
}

impl Plan<'_> {
    /// The request for some of the segments, into a new buffer unless there is one.
    pub fn request(
        &self,
        segments: &[SegmentSpec],
        buffer: Option<&DmaBuf>,
        options: Options,
    ) -> anyhow::Result<LoadSpec> {
        let args = options.transfer;
        let spec = LoadSpec::default().file(self.file)?.priority(args.priority.into());
        let mut spec = match buffer {
            Some(buffer) => spec.into_existing(buffer::fd(buffer)?)?,
            None => spec.into_new(NewBuffer {
                heap: args.heap.clone(),
                name: "dmabufload".to_owned(),
                sizeBytes: i64::try_from(self.buffer_bytes)?,
            }),
        };
        if let Some(millis) = args.timeout_ms {
            spec = spec.timeout(Duration::from_millis(millis));
        }
        (spec.request.policy, spec.request.paths) = args.policy.fields();
        spec.request.segments = segments.iter().map(|segment| segment.to_aidl()).collect();
        Ok(expect_verity(spec, options.verity))
    }
}

/// The ranges of the buffer that segments have filled.
fn filled(segments: &[SegmentSpec], segment_bytes: &[i64]) -> anyhow::Result<Vec<Range<u64>>> {
    let (asked, reported) = (segments.len(), segment_bytes.len());
    ensure!(asked == reported, "the service reported {reported} segments, expected {asked}");
    let range = |(segment, bytes): (&SegmentSpec, &i64)| {
        let start = segment.buffer_offset_bytes;
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
        let segment = |offset| SegmentSpec { buffer_offset_bytes: offset, ..SegmentSpec::WHOLE };
        let segments = [segment(4096), segment(0)];
        assert_eq!(filled(&segments, &[10, 0]).unwrap(), [4096..4106, 0..0]);
        for wrong in [&[1][..], &[1, 1, 1], &[1, -1]] {
            assert!(filled(&segments, wrong).is_err(), "{wrong:?}");
        }
    }
}
