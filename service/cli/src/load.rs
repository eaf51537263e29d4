// SPDX-License-Identifier: Apache-2.0
//! `dmabufload load`: loads a file into a new buffer and prints the result.

use std::fs::File;
use std::path::Path;

use anyhow::{ensure, Context};
use serde::Serialize;

use crate::args::{LoadArgs, ServiceArgs, Sha256Arg};
use crate::buffer;
use crate::connect::connect;
use crate::hex;
use crate::interrupt::Interrupt;
use crate::load_plan::{load, open, Options, Plan};
use crate::load_tensors;
use crate::output::{print_buffer, print_json, print_verity, Transfer};
use crate::segment::SegmentSpec;

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

/// Loads a file and prints the result.
pub fn run(service: &ServiceArgs, interrupt: &Interrupt, args: &LoadArgs) -> anyhow::Result<()> {
    if args.tensors.tensors {
        return load_tensors::run(service, interrupt, args);
    }
    let file = open(&args.file)?;
    let connection = connect(service, interrupt)?;
    let plan = plan(&file, &args.segments)?;
    let options = Options { transfer: &args.transfer, verity: &args.verity };
    let loaded = load(&connection, interrupt, &plan, options)
        .with_context(|| format!("{}", args.file.display()))?;
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
        verity_digest: args.verity.asks().then_some(loaded.verity_digest.as_deref()),
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
    println!("{}: {} bytes", output.file.display(), output.bytes);
    print_buffer(&loaded.buffer);
    for SegmentLine { file_offset_bytes, buffer_offset_bytes, bytes } in output.segments {
        println!("  {bytes} bytes from {file_offset_bytes} of the file at {buffer_offset_bytes}");
    }
    loaded.transfer.print("loaded");
    println!("  sha256 {}", output.sha256);
    print_verity(output.verity_digest);
    Ok(())
}

/// What loads a file whole, or these segments of it.
pub fn plan<'a>(file: &'a File, segments: &[SegmentSpec]) -> anyhow::Result<Plan<'a>> {
    let file_bytes = file.metadata()?.len();
    if segments.is_empty() {
        // A file that grows meanwhile does not extend past the buffer.
        let length_bytes = Some(file_bytes);
        return Ok(Plan {
            file,
            segments: vec![SegmentSpec { length_bytes, ..SegmentSpec::WHOLE }],
            most_segments: 1,
            buffer_bytes: file_bytes,
            total_bytes: file_bytes,
        });
    }
    let total_bytes = segments.iter().fold(0_u64, |total, segment| {
        let to_end = file_bytes.saturating_sub(segment.file_offset_bytes);
        total.saturating_add(segment.length_bytes.unwrap_or(u64::MAX).min(to_end))
    });
    // In one request: the service compares the ranges with each other, and sizes the buffer.
    let most_segments = segments.len();
    Ok(Plan { file, segments: segments.to_vec(), most_segments, buffer_bytes: 0, total_bytes })
}
