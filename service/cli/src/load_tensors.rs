// SPDX-License-Identifier: Apache-2.0
//! `dmabufload load --tensors`: lists the tensors of a model file, and loads them into one buffer.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{ensure, Context};
use dmabuf_loader_client::Loader;
use serde::Serialize;

use crate::args::{LoadArgs, ServiceArgs};
use crate::buffer;
use crate::connect::connect;
use crate::hex;
use crate::interrupt::Interrupt;
use crate::load_plan::{load, open, Options, Plan};
use crate::output::{print_buffer, print_json, print_verity, Transfer};
use crate::tensors::{self, Layout, Tensor};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    file: &'a Path,
    bytes: u64,
    buffer_bytes: i64,
    /// Absent where nothing was loaded.
    #[serde(flatten)]
    loaded: Option<LoadedPart<'a>>,
    tensors: &'a [TensorLine<'a>],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoadedPart<'a> {
    /// Absent unless requested; null if the file has no fs-verity.
    #[serde(skip_serializing_if = "Option::is_none")]
    verity_digest: Option<Option<&'a str>>,
    heap: &'a str,
    device_shareable: bool,
    service: &'static str,
    #[serde(flatten)]
    transfer: &'a Transfer,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TensorLine<'a> {
    name: &'a str,
    dtype: &'a str,
    shape: &'a [u64],
    buffer_offset_bytes: u64,
    bytes: u64,
    /// Absent where nothing was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

/// Lists or loads the tensors, and prints them.
pub fn run(service: &ServiceArgs, interrupt: &Interrupt, args: &LoadArgs) -> anyhow::Result<()> {
    let shown = args.file.display();
    let file = open(&args.file)?;
    let tensors = header(&file, &args.file).with_context(|| format!("{shown}"))?;
    let layout = Layout::of(&tensors, args.tensors.align).with_context(|| format!("{shown}"))?;
    let mut lines = lines(&tensors, &layout);
    let bytes = lines.iter().map(|line| line.bytes).sum();
    if args.tensors.list {
        let buffer_bytes = i64::try_from(layout.buffer_bytes)?;
        let output =
            Output { file: &args.file, bytes, buffer_bytes, loaded: None, tensors: &lines };
        if args.transfer.json {
            return print_json(&output);
        }
        println!("{shown}: {} tensors, {bytes} bytes", lines.len());
        println!("  in a buffer of {buffer_bytes} bytes");
        print_table(&lines);
        return Ok(());
    }
    let connection = connect(service, interrupt)?;
    let plan = plan(&file, &layout, &connection.loader)?;
    let options = Options { transfer: &args.transfer, verity: &args.verity };
    let loaded =
        load(&connection, interrupt, &plan, options).with_context(|| format!("{shown}"))?;
    ensure!(
        loaded.bytes() == plan.total_bytes,
        "{shown}: the file ended early: loaded {} bytes, expected {}",
        loaded.bytes(),
        plan.total_bytes
    );
    let digests = buffer::sha256_each(&loaded.buffer, &layout.ranges)?;
    for (line, digest) in lines.iter_mut().zip(digests) {
        line.sha256 = Some(hex::encode(digest.as_ref()));
    }
    let verity_digest = args.verity.asks().then_some(loaded.verity_digest.as_deref());
    if args.transfer.json {
        let part = LoadedPart {
            verity_digest,
            heap: &loaded.buffer.heap,
            device_shareable: loaded.buffer.deviceShareable,
            service: connection.service,
            transfer: &loaded.transfer,
        };
        return print_json(&Output {
            file: &args.file,
            bytes,
            buffer_bytes: loaded.buffer.sizeBytes,
            loaded: Some(part),
            tensors: &lines,
        });
    }
    println!("{shown}: {} tensors, {bytes} bytes", lines.len());
    print_buffer(&loaded.buffer);
    loaded.transfer.print("loaded");
    print_verity(verity_digest);
    print_table(&lines);
    Ok(())
}

/// Reads the header of the file that will be loaded: without `O_DIRECT`, which `file` may have.
fn header(file: &File, path: &Path) -> anyhow::Result<Vec<Tensor>> {
    let buffered = File::open(path)?;
    let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    ensure!(identity(&buffered)? == identity(file)?, "another file has taken its place");
    tensors::read(&buffered)
}

fn lines<'a>(tensors: &'a [Tensor], layout: &Layout) -> Vec<TensorLine<'a>> {
    let line = |(tensor, range): (&'a Tensor, &std::ops::Range<u64>)| TensorLine {
        name: &tensor.name,
        dtype: &tensor.dtype,
        shape: &tensor.shape,
        buffer_offset_bytes: range.start,
        bytes: tensor.bytes(),
        sha256: None,
    };
    tensors.iter().zip(&layout.ranges).map(line).collect()
}

/// What loads a layout: by several requests if there are more segments than one may have.
fn plan<'a>(file: &'a File, layout: &Layout, loader: &Loader) -> anyhow::Result<Plan<'a>> {
    let most_segments = usize::try_from(loader.capabilities()?.maxSegments)?;
    ensure!(most_segments > 0, "the service takes no segments");
    let total_bytes = layout.segments.iter().filter_map(|segment| segment.length_bytes).sum();
    Ok(Plan {
        file,
        segments: layout.segments.clone(),
        most_segments,
        buffer_bytes: layout.buffer_bytes,
        total_bytes,
    })
}

/// Prints a line for each tensor. Names and types are text of the file: what a terminal would take
/// for a command is escaped.
fn print_table(lines: &[TensorLine]) {
    let rows: Vec<[String; 6]> = lines.iter().map(cells).collect();
    let heading = ["tensor", "type", "shape", "offset", "bytes", "sha256"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&heading]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    for [name, dtype, shape, offset, bytes, sha256] in [&heading].into_iter().chain(&rows) {
        let [a, b, c, d, e] = widths;
        let line =
            format!("  {name:a$}  {dtype:b$}  {shape:c$}  {offset:>d$}  {bytes:>e$}  {sha256}");
        println!("{}", line.trim_end());
    }
}

fn cells(line: &TensorLine) -> [String; 6] {
    [
        line.name.escape_debug().to_string(),
        line.dtype.escape_debug().to_string(),
        format!("{:?}", line.shape),
        line.buffer_offset_bytes.to_string(),
        line.bytes.to_string(),
        line.sha256.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_command_to_a_terminal() {
        let (name, dtype) = ("w\u{1b}[2J\n", "F\u{7}");
        let line =
            TensorLine { name, dtype, shape: &[2], buffer_offset_bytes: 0, bytes: 2, sha256: None };
        assert_eq!(cells(&line), ["w\\u{1b}[2J\\n", "F\\u{7}", "[2]", "0", "2", ""]);
    }

    #[test]
    fn another_file_is_not_taken_for_the_header() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [0; 16]).unwrap();
        let file = File::open(&path).unwrap();
        assert!(format!("{:#}", header(&file, &path).unwrap_err()).contains("safetensors header"));
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        std::fs::write(&path, [0; 16]).unwrap();
        let error = header(&file, &path).unwrap_err();
        assert!(error.to_string().contains("another file"), "{error:#}");
    }
}
