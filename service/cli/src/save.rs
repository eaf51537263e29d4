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
use crate::interrupt::Interrupt;
use crate::load::plan;
use crate::load_plan::{load, open, Options};
use crate::output::{print_json, Transfer};
use crate::progress::Progress;
use crate::segment::SegmentSpec;
use crate::target_file::TargetFile;
use crate::task;

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
pub fn run(service: &ServiceArgs, interrupt: &Interrupt, args: &SaveArgs) -> anyhow::Result<()> {
    let source = open(&args.source)?;
    let connection = connect(service, interrupt)?;
    let options = Options { transfer: &args.transfer, verity: &VerityArgs::default() };
    let loaded = load(&connection, interrupt, &plan(&source, &[])?, options)
        .with_context(|| format!("{}", args.source.display()))?;
    let segments = segments(&args.segments, loaded.bytes())?;

    let shown = args.target.display();
    let context = || format!("{shown}");
    let target = TargetFile::create(&args.target, interrupt).with_context(context)?;
    let asked_bytes: i64 = segments.iter().map(|segment| segment.lengthBytes).sum();
    let spec = request(&loaded.buffer, target.file(), segments, &args.transfer)?;
    let mut progress = Progress::new("saving", u64::try_from(asked_bytes)?);
    let start = || connection.loader.start_save(&spec, None);
    let saved = task::run(interrupt, &mut progress, start).with_context(context)?;
    drop(progress);
    target.replace_target().with_context(context)?;
    let saved_bytes: i64 = saved.segmentBytes.iter().sum();
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
fn segments(args: &[SegmentSpec], loaded_bytes: u64) -> anyhow::Result<Vec<Segment>> {
    let args = if args.is_empty() { &[SegmentSpec::WHOLE] } else { args };
    // Not to the end of the buffer, which is longer than what was loaded.
    let within = |arg: &SegmentSpec| arg.within(loaded_bytes).map_err(Error::msg);
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
    (spec.request.policy, spec.request.paths) = args.policy.fields();
    spec = spec.priority(args.priority.into());
    if let Some(millis) = args.timeout_ms {
        spec = spec.timeout(Duration::from_millis(millis));
    }
    Ok(spec)
}
