// SPDX-License-Identifier: Apache-2.0
//! `dmabufload save`: loads a file into a buffer and writes the buffer to another file.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use dmabuf_loader_client::aidl::Segment::Segment;
use dmabuf_loader_client::SaveSpec;
use serde::Serialize;

use crate::args::{SaveArgs, ServiceArgs, VerityArgs};
use crate::buffer;
use crate::connect::connect;
use crate::load::{load, open};
use crate::output::{print_json, Transfer};

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
    let loaded = load(&connection, &source, &args.source, &args.transfer, &VerityArgs::default())?;

    // The target is created only after the load: a failed load leaves an existing target unchanged.
    let shown = args.target.display();
    let target = File::create(&args.target).with_context(|| format!("{shown}"))?;
    let segment = Segment { lengthBytes: i64::try_from(loaded.bytes)?, ..Segment::default() };
    let spec = SaveSpec::from_buffer(buffer::fd(&loaded.buffer)?)?.file(&target)?.segment(segment);
    let saved = connection.loader.save(spec).with_context(|| format!("{shown}"))?;
    target.sync_all().with_context(|| format!("{shown}: fsync"))?;
    let mut save = Transfer::of(saved.report);
    save.explain(&connection.loader, &loaded.buffer.heap)?;

    let output = Output {
        source: &args.source,
        target: &args.target,
        bytes: loaded.bytes,
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
