// SPDX-License-Identifier: Apache-2.0
//! `dmabufload load`: loads a file into a new buffer and prints the result.

use std::fs::File;
use std::path::Path;

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
use crate::output::{print_json, Transfer};
use crate::progress::{Progress, Reader};

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
}

/// A buffer with the content of a file.
pub struct Loaded {
    /// The buffer.
    pub buffer: DmaBuf,
    /// How many bytes of the buffer come from the file.
    pub bytes: u64,
    /// The file's fs-verity digest, if it was requested and the file has fs-verity.
    pub verity_digest: Option<String>,
    /// How the bytes were loaded.
    pub transfer: Transfer,
}

/// Loads a file and prints the result.
pub fn run(service: &ServiceArgs, args: &LoadArgs) -> anyhow::Result<()> {
    let file = open(&args.file)?;
    let connection = connect(service)?;
    let loaded = load(&connection, &file, &args.file, &args.transfer, &args.verity)?;
    let digest = buffer::sha256(&loaded.buffer, loaded.bytes)?;
    let sha256 = hex::encode(digest.as_ref());
    if let Some(Sha256Arg(expected)) = args.expect_sha256 {
        ensure!(
            digest.as_ref() == expected,
            "{}: the loaded bytes have SHA-256 {sha256}, which differs from --expect-sha256",
            args.file.display()
        );
    }
    let output = Output {
        file: &args.file,
        bytes: loaded.bytes,
        sha256,
        verity_digest: asks_for_digest(&args.verity).then_some(loaded.verity_digest.as_deref()),
        heap: &loaded.buffer.heap,
        device_shareable: loaded.buffer.deviceShareable,
        buffer_bytes: loaded.buffer.sizeBytes,
        service: connection.service,
        transfer: &loaded.transfer,
    };
    if args.transfer.json {
        return print_json(&output);
    }
    let shareable = if output.device_shareable { "" } else { ", not device-shareable" };
    println!("{}: {} bytes", output.file.display(), output.bytes);
    println!("  in a buffer of {} bytes, heap {}{shareable}", output.buffer_bytes, output.heap);
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

/// Opens a file that will be loaded whole. The error says why the file cannot be loaded.
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

/// Loads a whole file in one call, and shows the progress meanwhile if standard error is a
/// terminal.
pub fn load(
    connection: &Connection,
    file: &File,
    path: &Path,
    args: &TransferArgs,
    verity: &VerityArgs,
) -> anyhow::Result<Loaded> {
    let file_bytes = file.metadata().with_context(|| format!("{}", path.display()))?.len();
    let new = NewBuffer {
        heap: args.heap.clone(),
        sizeBytes: i64::try_from(file_bytes)?,
        name: "dmabufload".to_owned(),
    };
    // A file that grows meanwhile does not extend past the buffer.
    let segment = Segment { lengthBytes: i64::try_from(file_bytes)?, ..Segment::default() };
    let spec = LoadSpec::default().file(file)?.segment(segment).into_new(new);
    let mut spec = expect_verity(spec, verity);
    let (policy, only) = args.policy.fields();
    spec.request.policy = policy;
    let spec = spec.paths(only);
    let reader = if connection.is_embedded() { Reader::ThisProcess } else { Reader::Another };
    let loaded = Progress::new(file_bytes)
        .watch(reader, || connection.loader.load(spec))
        .with_context(|| format!("{}", path.display()))?;
    let bytes = loaded.segmentBytes.first().context("the service reported no segment")?;
    let bytes = u64::try_from(*bytes)?;
    let digests = loaded.digests.as_ref();
    let verity_digest = digests.and_then(|digests| digests.verity.first()).map(verity_text);
    let buffer = loaded.buffer.context("the service returned no buffer")?;
    let mut transfer = Transfer::of(loaded.report);
    transfer.explain(&connection.loader, &buffer.heap)?;
    Ok(Loaded { buffer, bytes, verity_digest, transfer })
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
