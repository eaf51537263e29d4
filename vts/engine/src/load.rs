// SPDX-License-Identifier: Apache-2.0
//! Short forms of engines, requests and buffers for the tests.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result};
use dmabuf_engine::request::{LoadRequest, NewBuffer, Policy, Segment, Target};
use dmabuf_engine::{
    Buffer, ClientId, Context, Engine, EngineConfig, HugeUdmabufs, LoadOutcome, PoolConfig,
};
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapped_buffer::MappedBuffer;

/// Makes an engine with this pool on the heaps of the device.
pub fn engine(pool: PoolConfig) -> Engine {
    Engine::new(EngineConfig::new(false, pool))
}

/// Makes an engine without a pool that is told whether udmabufs are of huge pages.
pub fn engine_with_huge_udmabufs(huge_udmabufs: HugeUdmabufs) -> Engine {
    let mut config = EngineConfig::new(false, PoolConfig::OFF);
    config.heaps.huge_udmabufs = huge_udmabufs;
    Engine::new(config)
}

/// A request for a new buffer of a heap; if `size_bytes` is 0, of the size that the segments need.
pub fn new_buffer(heap: &str, size_bytes: u64) -> NewBuffer {
    NewBuffer { heap: heap.to_owned(), size_bytes, name: "vts".to_owned() }
}

/// A segment that covers a whole file.
pub const WHOLE: Segment = Segment::WHOLE_FILE;

/// Loads segments of a file into a new buffer.
pub fn load(
    engine: &Engine,
    client: ClientId,
    new: NewBuffer,
    policy: Policy,
    file: &File,
    segments: &[Segment],
) -> dmabuf_engine::Result<LoadOutcome> {
    let load = LoadRequest::new(Target::New(new), vec![owned(file)], segments.to_vec());
    engine.load(LoadRequest { policy, ..load }, &Context::new(client))
}

/// Duplicates an fd for a request, which owns its fds.
///
/// # Panics
/// If the process has no free fd, which fails the test.
pub fn owned(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().expect("an fd can be duplicated")
}

/// Allocates a buffer.
pub fn allocate(
    engine: &Engine,
    client: ClientId,
    new: &NewBuffer,
) -> dmabuf_engine::Result<Buffer> {
    engine.allocate(new, &Context::new(client))
}

/// Reads all bytes of a buffer, as another process would.
pub fn contents(buffer: &Buffer) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(buffer.size_bytes)?];
    let mapped =
        MappedBuffer::of_dma_buf(buffer.fd.as_fd(), 0..buffer.size_bytes, CpuAccess::READ)?;
    mapped.read(0, &mut bytes)?;
    mapped.finish()?;
    Ok(bytes)
}

/// Returns the buffer of a load that made one.
pub fn made(outcome: LoadOutcome) -> Result<Buffer> {
    outcome.buffer.context("the load made no buffer")
}
