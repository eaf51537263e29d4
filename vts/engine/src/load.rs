// SPDX-License-Identifier: Apache-2.0
//! Engines, requests and buffers, shortened for tests.

use std::fs::File;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use dmabuf_engine::engine::EngineConfig;
use dmabuf_engine::pool::PoolConfig;
use dmabuf_engine::request::{ClientId, LoadRequest, NewBuffer, Policy, Segment, Target};
use dmabuf_engine::{Buffer, Engine, LoadOutcome};
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapped_buffer::MappedBuffer;

/// An engine with this pool, on the heaps of the device.
pub fn engine(pool: PoolConfig) -> Engine {
    let max_buffer_bytes = EngineConfig::default_max_buffer_bytes();
    Engine::new(EngineConfig { allow_memfd: false, max_buffer_bytes, pool })
}

/// A new buffer of a heap; of the size that the segments need if `size_bytes` is 0.
pub fn new_buffer(heap: &str, size_bytes: u64) -> NewBuffer<'_> {
    NewBuffer { heap, size_bytes, name: "vts" }
}

/// A whole file.
pub const WHOLE: Segment = Segment::WHOLE_FILE;

/// Loads segments of a file into a new buffer.
pub fn load(
    engine: &Engine,
    client: ClientId,
    new: NewBuffer<'_>,
    policy: Policy,
    file: &File,
    segments: &[Segment],
) -> dmabuf_engine::Result<LoadOutcome> {
    let (target, files) = (Target::New(new), vec![file.as_fd()]);
    let load = LoadRequest::new(client, target, files, segments.to_vec());
    engine.load(&LoadRequest { policy, ..load })
}

/// All bytes of a buffer, as another process would see them.
pub fn contents(buffer: &Buffer) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(buffer.size_bytes)?];
    let mapped =
        MappedBuffer::of_dma_buf(buffer.fd.as_fd(), 0..buffer.size_bytes, CpuAccess::READ)?;
    mapped.read(0, &mut bytes)?;
    mapped.finish()?;
    Ok(bytes)
}

/// The buffer of a load that made one.
pub fn made(outcome: LoadOutcome) -> Result<Buffer> {
    outcome.buffer.context("the load made no buffer")
}
