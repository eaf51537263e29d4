// SPDX-License-Identifier: Apache-2.0
//! Measures every path that the service supports, over binder; each load allocates its buffer.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{anyhow, ensure, Context, Result};
use dmabuf_loader_client::aidl::{
    DmaBuf::DmaBuf, LoadPath::LoadPath, LoadResult::LoadResult, LoaderError::LoaderError,
    NewBuffer::NewBuffer, Segment::Segment,
};
use dmabuf_loader_client::{ClientError, LoadSpec, Loader};
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::files::Mode;

use crate::bench::{Bench, Case, Setup};
use crate::engine_paths::{apart, SYSTEM_HEAP};
use crate::outcome::not_possible;
use crate::seed::load::offsets_bytes;

const LARGE_BUFFER_BYTES: u64 = 256 << 20;

/// The loads of one measurement.
#[derive(Clone, Debug)]
struct Workload {
    heap: String,
    path: Option<LoadPath>,
    buffers: u32,
    buffer_bytes: u64,
}

/// Runs the measurements.
pub fn run(bench: &mut Bench) -> Result<()> {
    let paths = match &bench.setup.loader {
        Ok(loader) => loader.capabilities().context("getCapabilities")?.paths,
        Err(reason) => {
            let reason = reason.clone();
            let case = Case::new(Kind::Binder, "any path", Direction::Load, 0, 0);
            return bench.measure(case, |_| Err(not_possible(reason)));
        }
    };
    let (buffers, buffer_bytes) = (bench.setup.buffers, bench.setup.buffer_bytes);
    for entry in paths {
        let method = format!("{} {}", entry.heap, path_name(entry.path));
        let refused = (!entry.supported).then(|| entry.detail.clone());
        let workload = Workload { heap: entry.heap, path: Some(entry.path), buffers, buffer_bytes };
        measure(bench, &method, workload, refused)?;
    }
    let auto = Workload { heap: SYSTEM_HEAP.to_owned(), path: None, buffers, buffer_bytes };
    measure(bench, "system AUTO", auto.clone(), None)?;
    let large = u32::try_from(bench.setup.total_bytes() / LARGE_BUFFER_BYTES)?;
    if large > 0 {
        let workload = Workload { buffers: large, buffer_bytes: LARGE_BUFFER_BYTES, ..auto };
        measure(bench, "system AUTO", workload, None)?;
    }
    Ok(())
}

/// Returns the engine's name of a path.
fn path_name(path: LoadPath) -> String {
    match path {
        LoadPath::COPY_FILE_RANGE => "COPY_FILE_RANGE".to_owned(),
        LoadPath::UDMABUF_DIRECT => "UDMABUF_DIRECT".to_owned(),
        LoadPath::BOUNCE => "BOUNCE".to_owned(),
        LoadPath::BUFFERED => "BUFFERED".to_owned(),
        other => format!("path {}", other.0),
    }
}

fn measure(
    bench: &mut Bench,
    method: &str,
    workload: Workload,
    refused: Option<String>,
) -> Result<()> {
    let bytes = u64::from(workload.buffers) * workload.buffer_bytes;
    let case = Case::new(Kind::Binder, method, Direction::Load, bytes, u64::from(workload.buffers))
        .with("buffer_bytes", workload.buffer_bytes);
    bench.measure(case, |setup| match (refused, &setup.loader) {
        (Some(reason), _) => Err(not_possible(reason)),
        (None, Ok(loader)) => load(setup, loader, &workload),
        (None, Err(reason)) => Err(not_possible(reason.clone())),
    })
}

fn load(setup: &Setup, loader: &Loader, workload: &Workload) -> Result<Phases> {
    let buffered = workload.path == Some(LoadPath::BUFFERED);
    let file = setup.source.open(if buffered { Mode::Buffered } else { Mode::Direct })?;
    let (results, both) = setup.meter.measure(|| {
        offsets_bytes(workload.buffer_bytes)
            .take(workload.buffers as usize)
            .map(|offset_bytes| load_part(loader, workload, &file, offset_bytes))
            .collect::<Result<Vec<LoadResult>>>()
    })?;
    let spent = |on: fn(&LoadResult) -> i64| {
        u64::try_from(results.iter().map(on).sum::<i64>()).map(Duration::from_nanos)
    };
    let (create, rest) = apart(both, spent(|result| result.report.allocateNanos)?);
    let (exporting, io) = apart(rest, spent(|result| result.report.exportNanos)?);
    let buffers = results
        .into_iter()
        .map(|result| {
            check(&result, workload)?;
            result.buffer.context("no buffer")
        })
        .collect::<Result<Vec<DmaBuf>>>()?;
    for (buffer, offset_bytes) in buffers.iter().zip(offsets_bytes(workload.buffer_bytes)) {
        setup.source.verify(fd(buffer)?, workload.buffer_bytes, offset_bytes)?;
    }
    let ((), close) = setup.meter.measure(|| {
        drop(buffers);
        Ok(())
    })?;
    Ok(Phases { create: Some(create), io: Some(io), close: Some(close.plus(exporting)) })
}

fn load_part(
    loader: &Loader,
    workload: &Workload,
    file: &File,
    file_offset_bytes: u64,
) -> Result<LoadResult> {
    let new = new_buffer(&workload.heap, workload.buffer_bytes)?;
    let spec =
        part_of(file, file_offset_bytes, workload.buffer_bytes, workload.path)?.into_new(new);
    loader.load(spec).map_err(refused_or_failed)
}

/// Makes a request for a part of a file, by a named path or by one that the service chooses, to the
/// start of a buffer. The caller adds the buffer.
pub fn part_of(
    file: &File,
    file_offset_bytes: u64,
    len_bytes: u64,
    path: Option<LoadPath>,
) -> Result<LoadSpec> {
    let segment = Segment {
        fileOffsetBytes: i64::try_from(file_offset_bytes)?,
        lengthBytes: i64::try_from(len_bytes)?,
        ..Segment::default()
    };
    Ok(LoadSpec::default().file(file)?.segment(segment).paths(path))
}

fn check(result: &LoadResult, workload: &Workload) -> Result<()> {
    let bytes = &result.segmentBytes;
    ensure!(*bytes == [i64::try_from(workload.buffer_bytes)?], "short: {bytes:?}");
    if let Some(path) = workload.path {
        ensure!(result.report.path == path, "{} was taken", path_name(result.report.path));
    }
    Ok(())
}

/// A path that the service does not support is not a failure of the benchmark.
pub fn refused_or_failed(error: ClientError) -> anyhow::Error {
    match error.code() {
        Some(LoaderError::PATH_UNAVAILABLE | LoaderError::NO_MEMORY) => {
            not_possible(error.to_string())
        }
        _ => anyhow!(error),
    }
}

/// Makes a request for a new buffer.
pub fn new_buffer(heap: &str, size_bytes: u64) -> Result<NewBuffer> {
    let size_bytes = i64::try_from(size_bytes)?;
    Ok(NewBuffer { heap: heap.to_owned(), sizeBytes: size_bytes, name: "bench".to_owned() })
}

/// Returns the fd of a buffer.
pub fn fd(buffer: &DmaBuf) -> Result<BorrowedFd<'_>> {
    let fd: &OwnedFd = buffer.fd.as_ref().context("the buffer has no fd")?.as_ref();
    Ok(fd.as_fd())
}
