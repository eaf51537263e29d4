// SPDX-License-Identifier: Apache-2.0
//! `dmabufload save`: loads a file into a buffer and writes the buffer to another file.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error};
use dmabuf_loader_client::aidl::{DmaBuf::DmaBuf, Segment::Segment};
use dmabuf_loader_client::SaveSpec;
use serde::Serialize;

use crate::args::{SaveArgs, ServiceArgs, TransferArgs, VerityArgs};
use crate::buffer;
use crate::connect::connect;
use crate::load::{load, open, Source};
use crate::output::{print_json, Transfer};
use crate::segment::SegmentArg;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    source: &'a Path,
    target: &'a Path,
    bytes: u64,
    heap: &'a str,
    device_shareable: bool,
    service: &'static str,
    load: &'a Transfer,
    save: &'a Transfer,
}

/// Loads a file, writes the buffer to another, and prints the result.
pub fn run(service: &ServiceArgs, args: &SaveArgs) -> anyhow::Result<()> {
    let source = open(&args.source)?;
    let connection = connect(service)?;
    let whole = Source { file: &source, path: &args.source, segments: &[] };
    let loaded = load(&connection, whole, &args.transfer, &VerityArgs::default())?;
    let segments = segments(&args.segments, loaded.bytes())?;

    // The target is created only after the load: a failed load leaves an existing target unchanged.
    let shown = args.target.display();
    let target = File::create(&args.target).with_context(|| format!("{shown}"))?;
    let spec = request(&loaded.buffer, &target, segments, &args.transfer)?;
    let saved = connection.loader.save(spec).with_context(|| format!("{shown}"))?;
    let saved_bytes: i64 = saved.segmentBytes.iter().sum();
    target.sync_all().with_context(|| format!("{shown}: fsync"))?;
    let mut save = Transfer::of(saved.report);
    save.explain(&connection.loader, &loaded.buffer.heap)?;

    let output = Output {
        source: &args.source,
        target: &args.target,
        bytes: u64::try_from(saved_bytes)?,
        heap: &loaded.buffer.heap,
        device_shareable: loaded.buffer.deviceShareable,
        service: connection.service,
        load: &loaded.transfer,
        save: &save,
    };
    if args.transfer.json {
        return print_json(&output);
    }
    println!("{}: {} bytes to {shown}", output.source.display(), output.bytes);
    loaded.transfer.print("loaded");
    save.print("saved");
    Ok(())
}

/// The ranges to write: those of the command line, else all that was loaded.
fn segments(args: &[SegmentArg], loaded_bytes: u64) -> anyhow::Result<Vec<Segment>> {
    let whole = SegmentArg { file_offset_bytes: 0, length_bytes: None, buffer_offset_bytes: 0 };
    let args = if args.is_empty() { &[whole] } else { args };
    // Not to the end of the buffer, which is longer than what was loaded.
    let within = |arg: &SegmentArg| arg.within(loaded_bytes).map_err(Error::msg);
    args.iter().map(|arg| Ok(within(arg)?.to_aidl())).collect()
}

fn request(
    buffer: &DmaBuf,
    target: &File,
    segments: Vec<Segment>,
    args: &TransferArgs,
) -> anyhow::Result<SaveSpec> {
    let mut spec = SaveSpec::from_buffer(buffer::fd(buffer)?)?.file(target)?;
    spec.request.segments = segments;
    (spec.request.policy, spec.request.namedPath) = args.policy.fields();
    spec = spec.priority(args.priority.into());
    if let Some(millis) = args.timeout_ms {
        spec = spec.timeout(Duration::from_millis(millis));
    }
    Ok(spec)
}
