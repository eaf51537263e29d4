// SPDX-License-Identifier: Apache-2.0
//! The engine: prepare (inspect, resolve, plan), acquire (buffer), run, finish.

use std::sync::Arc;
use std::time::Instant;

use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::interruption::prepare_process;
use dmabuf_uapi::page_size_bytes;

use crate::allocator::Allocator;
use crate::buffer::{Buffer, BufferView, CpuView};
use crate::capabilities::HeapPath;
use crate::context::Context;
use crate::error::Result;
use crate::file::{FileSystems, KnownFileSystems, UnclosedFiles};
use crate::heap::{Heap, HeapConfig, Heaps};
use crate::io_path::{Direction, PathName};
use crate::path::{self, BounceMemory, IoResources};
use crate::plan::Step;
use crate::pool::{AllocRequest, PoolConfig, PoolStats};
use crate::prepare::{self, Inspection, PreparedLoad, PreparedSave, PreparedTarget};
use crate::request::{
    filled_ranges, FileDigest, LoadRequest, NewBuffer, ResolvedSegment, SaveRequest, Sha256,
};
use crate::threads::Threads;
use crate::transfer::{load_and_digest, Report, Transfer};

/// What the embedder decides.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// What the device says about heaps.
    pub heaps: HeapConfig,
    /// Whether bare memfds stand in where there are no dma-bufs.
    pub allow_memfd: bool,
    /// The largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Buffers kept free.
    pub pool: PoolConfig,
    /// Threads that help requests with their I/O and digests, at most, over all requests. Each
    /// request also uses the thread that runs it.
    pub max_helper_threads: usize,
    /// Where clients' files may lie.
    pub file_systems: FileSystems,
}

impl EngineConfig {
    /// Buffers of at most half of the machine's memory, 16 helper threads, which are those of four
    /// large loads at a time, and files of any file system.
    pub fn new(allow_memfd: bool, pool: PoolConfig) -> Self {
        let max_buffer_bytes = dmabuf_uapi::memory::total_bytes() / 2;
        let (heaps, file_systems) = (HeapConfig::default(), FileSystems::Any);
        let max_helper_threads = 16;
        Self { heaps, allow_memfd, max_buffer_bytes, pool, max_helper_threads, file_systems }
    }
}

/// What a load did.
#[derive(Debug)]
pub struct LoadOutcome {
    /// The new buffer where one was asked for.
    pub buffer: Option<Buffer>,
    /// Bytes per segment.
    pub segment_bytes: Vec<u64>,
    /// How.
    pub report: Report,
    /// The digest of the loaded bytes where it was asked for.
    pub sha256: Option<Sha256>,
    /// The fs-verity digests that were asked for, of the files that have one, in the order of the
    /// files.
    pub verity: Vec<FileDigest>,
}

/// What a save did.
#[derive(Debug)]
pub struct SaveOutcome {
    /// Bytes per segment.
    pub segment_bytes: Vec<u64>,
    /// How.
    pub report: Report,
}

/// The engine. Requests may run on any thread, any number at a time. Of a request it keeps nothing
/// but, with a pool, the means to reuse the buffer when the client has released it.
#[derive(Debug)]
pub struct Engine {
    allow_memfd: bool,
    file_systems: Arc<KnownFileSystems>,
    allocator: Allocator,
    resources: IoResources,
}

impl Engine {
    /// Opens the heaps and tries every path on each. Gives SIGURG a handler that does nothing, if
    /// the process has none: it ends calls that wait in the kernel for a client's fence.
    pub fn new(config: EngineConfig) -> Self {
        if let Err(errno) = prepare_process() {
            log::warn!("a client can hold a thread by fences: {errno}");
        }
        let copies_files =
            |sample: &BufferView<'_>| path::probe(PathName::CopyFileRange, sample).supported;
        let EngineConfig { max_buffer_bytes, allow_memfd, .. } = config;
        let heaps = Heaps::discover(&config.heaps, max_buffer_bytes, allow_memfd, copies_files);
        let threads = Threads::new(config.max_helper_threads);
        let resources = IoResources { threads, bounce_memory: BounceMemory::default() };
        let allocator = Allocator::new(heaps, config.pool);
        let file_systems = Arc::new(KnownFileSystems::new(config.file_systems));
        Self { allow_memfd, file_systems, allocator, resources }
    }

    /// The page size of the kernel, in bytes: the granularity of buffer sizes.
    pub fn page_bytes() -> i64 {
        page_size_bytes() as i64
    }

    /// The main memory of the machine, in bytes.
    pub fn memory_bytes() -> u64 {
        dmabuf_uapi::memory::total_bytes()
    }

    /// The heaps: those that may serve a request that names none come first, in the order in which
    /// it tries them.
    pub fn heaps(&self) -> &[Heap] {
        self.allocator.heaps().all()
    }

    /// Every path of every heap.
    pub fn paths(&self) -> &[HeapPath] {
        self.allocator.capabilities().all()
    }

    /// What the pool has done; `None` without one.
    pub fn pool_stats(&self) -> Option<PoolStats> {
        self.allocator.pool_stats()
    }

    /// The files that were refused and are not closed yet.
    pub fn unclosed_files(&self) -> UnclosedFiles {
        self.file_systems.unclosed()
    }

    /// Allocates a zeroed buffer, from the heap of that name, or for an empty name from the first
    /// of [`Engine::heaps`] that serves any request, can hold it and has the memory.
    ///
    /// # Errors
    /// [`EngineError::BadArgument`], [`EngineError::HeapUnknown`], [`EngineError::NoMemory`].
    ///
    /// [`EngineError::BadArgument`]: crate::EngineError::BadArgument
    /// [`EngineError::HeapUnknown`]: crate::EngineError::HeapUnknown
    /// [`EngineError::NoMemory`]: crate::EngineError::NoMemory
    pub fn allocate(&self, request: &NewBuffer, context: &Context) -> Result<Buffer> {
        context.check()?;
        self.allocator.allocate(request, context.client)
    }

    /// Loads ranges of files into a buffer.
    ///
    /// # Errors
    /// Any [`EngineError`]. A new buffer is dropped.
    ///
    /// [`EngineError`]: crate::EngineError
    pub fn load(&self, request: LoadRequest, context: &Context) -> Result<LoadOutcome> {
        self.run_load(self.prepare_load(request, context)?, context)
    }

    /// Writes ranges of a buffer to files.
    ///
    /// # Errors
    /// Any [`EngineError`].
    ///
    /// [`EngineError`]: crate::EngineError
    pub fn save(&self, request: SaveRequest, context: &Context) -> Result<SaveOutcome> {
        self.run_save(self.prepare_save(request, context)?, context)
    }

    /// The first half of [`Engine::load`], after which the request's size is known and nothing is
    /// allocated.
    ///
    /// # Errors
    /// Any [`EngineError`] that concerns an argument.
    ///
    /// [`EngineError`]: crate::EngineError
    pub fn prepare_load(&self, request: LoadRequest, context: &Context) -> Result<PreparedLoad> {
        prepare::prepare_load(self.inspection(), request, context)
    }

    /// The first half of [`Engine::save`].
    ///
    /// # Errors
    /// As for [`Engine::prepare_load`].
    pub fn prepare_save(&self, request: SaveRequest, context: &Context) -> Result<PreparedSave> {
        prepare::prepare_save(self.inspection(), request, context)
    }

    fn inspection(&self) -> Inspection<'_> {
        Inspection {
            allocator: &self.allocator,
            file_systems: &self.file_systems,
            allow_memfd: self.allow_memfd,
        }
    }

    /// The second half of [`Engine::load`], on any thread.
    ///
    /// # Errors
    /// Any [`EngineError`]. A new buffer is dropped.
    ///
    /// [`EngineError`]: crate::EngineError
    pub fn run_load(&self, prepared: PreparedLoad, context: &Context) -> Result<LoadOutcome> {
        context.check()?;
        let mut report = Report::default();
        let (buffer, (segment_bytes, sha256)) = match &prepared.target {
            PreparedTarget::New { named, overwritten, alternatives } => {
                let now = Instant::now();
                let (size_bytes, client) = (named.size_bytes, context.client);
                let request = AllocRequest { size_bytes, client, overwritten: *overwritten, now };
                let (allocated, chosen) = self.allocator.acquire(alternatives, named, request)?;
                report.allocate = now.elapsed();
                let steps = &alternatives[chosen].steps;
                let cpu = CpuView::new(allocated.view(), load_access(&prepared));
                let is_zero = allocated.is_zero;
                let loaded = self.fill(cpu, is_zero, steps, &prepared, context, &mut report)?;
                let now = Instant::now();
                let buffer = self.allocator.export(allocated, client);
                report.export = now.elapsed();
                (Some(buffer), loaded)
            }
            PreparedTarget::Existing { buffer, steps } => {
                // What no segment fills stays as it is.
                let access = load_access(&prepared);
                let cpu = CpuView::of_client(buffer.view(), access, context);
                (None, self.fill(cpu, true, steps, &prepared, context, &mut report)?)
            }
        };
        Ok(LoadOutcome { buffer, segment_bytes, report, sha256, verity: prepared.verity })
    }

    /// Fills a buffer: the bytes of each segment, and the digest where the request wants it. What
    /// no segment fills is zeroed, unless the buffer is zero already or not the engine's.
    fn fill(
        &self,
        cpu: CpuView<'_>,
        is_zero: bool,
        steps: &[Step],
        prepared: &PreparedLoad,
        context: &Context,
        report: &mut Report,
    ) -> Result<(Vec<u64>, Option<Sha256>)> {
        let transfer = Transfer {
            direction: Direction::Load,
            policy: prepared.policy,
            files: &prepared.files,
            segments: &prepared.segments,
            steps,
            buffer: &cpu,
            resources: &self.resources,
            context,
        };
        let begin = Instant::now();
        let (segment_bytes, sha256) = load_and_digest(&transfer, &prepared.digests, report)?;
        if !is_zero {
            zero_gaps(&cpu, &prepared.segments, &segment_bytes)?;
        }
        cpu.end()?;
        report.transfer = begin.elapsed().saturating_sub(report.verify);
        Ok((segment_bytes, sha256))
    }

    /// The second half of [`Engine::save`], on any thread.
    ///
    /// # Errors
    /// Any [`EngineError`].
    ///
    /// [`EngineError`]: crate::EngineError
    pub fn run_save(&self, prepared: PreparedSave, context: &Context) -> Result<SaveOutcome> {
        context.check()?;
        let cpu = CpuView::of_client(prepared.buffer.view(), CpuAccess::READ, context);
        let transfer = Transfer {
            direction: Direction::Save,
            policy: prepared.policy,
            files: &prepared.files,
            segments: &prepared.segments,
            steps: &prepared.steps,
            buffer: &cpu,
            resources: &self.resources,
            context,
        };
        let mut report = Report::default();
        let begin = Instant::now();
        let moved = transfer.run(&mut report);
        // Comes before an error of the transfer: it may be why the kernel refused.
        for (index, file) in prepared.files.iter().enumerate() {
            file.check_not_appending(index)?;
        }
        let segment_bytes = moved?;
        cpu.end()?;
        report.transfer = begin.elapsed();
        Ok(SaveOutcome { segment_bytes, report })
    }
}

/// What the CPU may have to do to the buffer of a load.
fn load_access(prepared: &PreparedLoad) -> CpuAccess {
    let digest_reads =
        if prepared.digests.wants_sha256() { CpuAccess::READ } else { CpuAccess::empty() };
    CpuAccess::WRITE | digest_reads
}

/// Zeroes what no segment has filled.
fn zero_gaps(
    buffer: &CpuView<'_>,
    segments: &[ResolvedSegment],
    segment_bytes: &[u64],
) -> Result<()> {
    let size_bytes = buffer.buffer().size_bytes;
    let mut filled: Vec<(u64, u64)> = filled_ranges(segments, segment_bytes).collect();
    filled.push((size_bytes, 0));
    filled.sort_unstable();
    let mut reached = 0;
    for (start, bytes) in filled {
        buffer.zero(reached, start.saturating_sub(reached))?;
        reached = reached.max(start + bytes);
    }
    Ok(())
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
