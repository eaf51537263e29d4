// SPDX-License-Identifier: Apache-2.0
//! The engine: allocate, load, save.

use std::time::Instant;

use dmabuf_uapi::page_size_bytes;
use smallvec::SmallVec;

use crate::allocator::Allocator;
use crate::buffer::{check_client_mode, Buffer, BufferUse, BufferView};
use crate::cost::REOPENING_PAYS_ABOVE_BYTES;
use crate::digest::Sha256;
use crate::error::{EngineError, Result};
use crate::file::{Needs, OpenFile};
use crate::fs_verity::{self, FileDigest};
use crate::heap::{Heap, Heaps};
use crate::path::{Direction, Path};
use crate::pool::{PoolConfig, PoolStats};
use crate::report::Report;
use crate::request::{
    check_buffer_ranges, check_counts, check_no_overlap, resolve, segment_argument, ClientId,
    LoadRequest, NewBuffer, Policy, ResolvedSegment, SaveRequest, Segment, Target,
};
use crate::runs::filled_ranges;
use crate::transfer::Job;
use crate::verify;

pub use crate::allocator::HeapPath;

/// What the embedder decides.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Whether bare memfds stand in where there are no dma-bufs.
    pub allow_memfd: bool,
    /// The largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Buffers kept ready.
    pub pool: PoolConfig,
}

impl EngineConfig {
    /// The largest buffer by default: half of the machine's memory.
    pub fn default_max_buffer_bytes() -> u64 {
        dmabuf_uapi::memory::total_bytes() / 2
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
    /// The fs-verity digests that were asked for, of the files that have one, in the order of the files.
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

/// The engine. Safe to share between threads. Of a request it keeps nothing but, with a pool, the means to get the buffer
/// back when the client has released it.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    allocator: Allocator,
}

impl Engine {
    /// Opens the heaps and tries every path on each.
    pub fn new(config: EngineConfig) -> Self {
        let heaps = Heaps::discover(config.max_buffer_bytes, config.allow_memfd);
        Self { config, allocator: Allocator::new(heaps, config.pool) }
    }

    /// The page size of the kernel, in bytes: the granularity of buffer sizes.
    pub fn page_bytes() -> i64 {
        page_size_bytes() as i64
    }

    /// The heaps, best first.
    pub fn heaps(&self) -> &[Heap] {
        self.allocator.heaps()
    }

    /// Every path of every heap.
    pub fn paths(&self) -> &[HeapPath] {
        self.allocator.paths()
    }

    /// What the pool has done; `None` without one.
    pub fn pool_stats(&self) -> Option<PoolStats> {
        self.allocator.pool_stats()
    }

    /// Allocates a zeroed buffer.
    ///
    /// # Errors
    /// [`EngineError::BadArgument`], [`EngineError::HeapUnknown`], [`EngineError::NoMemory`].
    pub fn allocate(&self, request: &NewBuffer<'_>, client: ClientId) -> Result<Buffer> {
        self.allocator.allocate(request, client)
    }

    /// Loads ranges of files into a buffer.
    ///
    /// # Errors
    /// Any [`EngineError`]. A new buffer is dropped.
    pub fn load(&self, request: &LoadRequest<'_>) -> Result<LoadOutcome> {
        check_counts(request.files.len(), &request.segments)?;
        fs_verity::check_indices(&request.expected_verity, request.files.len())?;
        let mut files = inspect_files(&request.files, Direction::Load)?;
        let verity = fs_verity::check(request, &files)?;
        let to_end =
            |segment: &Segment| bytes_to_end(&files[segment.file_index], segment.file_offset_bytes);
        let asked = resolve(&request.segments, to_end)?;
        check_no_overlap(&asked, "bufferOffsetBytes", |segment| {
            (0, segment.buffer_offset_bytes, segment.buffer_end_bytes())
        })?;

        let direct = wants_direct(request.policy);
        for (index, file) in files.iter_mut().enumerate() {
            let few_bytes = request.policy == Policy::Auto && has_few_bytes(&asked, index, file);
            file.prepare(Needs { direct, few_bytes, unaligned_writes: false });
        }
        let mut report = Report::default();
        let begin = Instant::now();
        let new_buffer = match &request.target {
            Target::New(new) => Some(self.allocator.allocate_to_fill(
                &sized(*new, &asked)?,
                request,
                &files,
                &asked,
                begin,
            )?),
            Target::Existing(_) => None,
        };
        let buffer = match (&request.target, &new_buffer) {
            (_, Some(allocated)) => allocated.view(),
            (Target::Existing(fd), None) => {
                BufferView::of_client(*fd, "target.existing", self.config.allow_memfd)?
            }
            (Target::New(_), None) => {
                return Err(EngineError::bad_argument("target", "is missing"))
            }
        };
        let allocated = if new_buffer.is_some() { Instant::now() } else { begin };
        report.allocate = allocated - begin;
        check_buffer_ranges(&asked, buffer.size_bytes)?;
        let supports = match &new_buffer {
            Some(allocated) => self.allocator.supports_of(&allocated.buffer.heap),
            None => self.allocator.supports_of_client(&buffer),
        };
        let mut segments = asked;
        clamp_to_files(&mut segments, &files);
        let job = Job {
            direction: Direction::Load,
            policy: request.policy,
            supports,
            buffer,
            files: &files,
            segments: &segments,
        };
        let loaded = verify::load(&job, request, &mut report);
        if let (Target::Existing(fd), Err(_)) = (&request.target, &loaded) {
            // Only now: the question costs a call, and a buffer in the wrong mode has been left alone.
            check_client_mode(*fd, "target.existing", BufferUse::Fill)?;
        }
        let (segment_bytes, sha256) = loaded?;
        if new_buffer.as_ref().is_some_and(|allocated| !allocated.is_zero) {
            clear_gaps(&buffer, &segments, &segment_bytes)?;
        }
        let moved = Instant::now();
        report.transfer = (moved - allocated).saturating_sub(report.verify);
        let buffer = new_buffer.map(|allocated| {
            let buffer = self.allocator.hand_over(allocated, request.client);
            report.hand_over = moved.elapsed();
            buffer
        });
        Ok(LoadOutcome { buffer, segment_bytes, report, sha256, verity })
    }

    /// Writes ranges of a buffer to files.
    ///
    /// # Errors
    /// Any [`EngineError`].
    pub fn save(&self, request: &SaveRequest<'_>) -> Result<SaveOutcome> {
        check_counts(request.files.len(), &request.segments)?;
        let buffer = BufferView::of_client(request.buffer, "buffer", self.config.allow_memfd)?;
        check_client_mode(request.buffer, "buffer", BufferUse::Drain)?;
        let mut files = inspect_files(&request.files, Direction::Save)?;
        let to_end =
            |segment: &Segment| buffer.size_bytes.saturating_sub(segment.buffer_offset_bytes);
        let segments = resolve(&request.segments, to_end)?;
        check_buffer_ranges(&segments, buffer.size_bytes)?;
        check_no_overlap(&segments, "fileOffsetBytes", |segment| {
            (segment.file_index, segment.file_offset_bytes, segment.file_end_bytes())
        })?;

        let supports = self.allocator.supports_of_client(&buffer);
        let direct = wants_direct(request.policy);
        for (index, file) in files.iter_mut().enumerate() {
            let unaligned_writes = has_unaligned(&segments, index, file);
            file.prepare(Needs { direct, few_bytes: false, unaligned_writes });
        }
        let job = Job {
            direction: Direction::Save,
            policy: request.policy,
            supports,
            buffer,
            files: &files,
            segments: &segments,
        };
        let mut report = Report::default();
        let begin = Instant::now();
        let segment_bytes = job.run(&job.runs(), None, &mut report)?;
        report.transfer = begin.elapsed();
        Ok(SaveOutcome { segment_bytes, report })
    }
}

/// Clears what no segment has filled.
fn clear_gaps(
    buffer: &BufferView<'_>,
    segments: &[ResolvedSegment],
    segment_bytes: &[u64],
) -> Result<()> {
    // Segments do not overlap.
    if segment_bytes.iter().sum::<u64>() == buffer.size_bytes {
        return Ok(());
    }
    let mut filled: Vec<(u64, u64)> = filled_ranges(segments, segment_bytes).collect();
    filled.push((buffer.size_bytes, 0));
    filled.sort_unstable();
    let mut reached = 0;
    for (start, bytes) in filled {
        buffer.clear(reached, start.saturating_sub(reached))?;
        reached = reached.max(start + bytes);
    }
    Ok(())
}

fn inspect_files<'fd>(
    fds: &[std::os::fd::BorrowedFd<'fd>],
    direction: Direction,
) -> Result<SmallVec<[OpenFile<'fd>; 1]>> {
    fds.iter()
        .enumerate()
        .map(|(index, fd)| OpenFile::inspect(*fd, || format!("files[{index}]"), direction))
        .collect()
}

/// The request for a new buffer, with the size that the segments need where it names none.
fn sized<'a>(new: NewBuffer<'a>, segments: &[ResolvedSegment]) -> Result<NewBuffer<'a>> {
    let needed_bytes = segments.iter().map(ResolvedSegment::buffer_end_bytes).max().unwrap_or(0);
    if new.size_bytes == 0 && needed_bytes == 0 {
        return Err(EngineError::bad_argument(
            "target.newBuffer.sizeBytes",
            "is 0 and the segments hold no byte (an empty file?), a buffer has at least 1 byte",
        ));
    }
    let size_bytes = if new.size_bytes == 0 { needed_bytes } else { new.size_bytes };
    if let Some(index) = segments.iter().position(|s| s.buffer_end_bytes() > size_bytes) {
        // Checked before allocation, and against the size asked for, not the rounded one.
        return Err(EngineError::bad_argument(
            segment_argument(index, "bufferOffsetBytes"),
            format!(
                "the segment ends at byte {}, the buffer has {size_bytes}",
                segments[index].buffer_end_bytes()
            ),
        ));
    }
    Ok(NewBuffer { size_bytes, ..new })
}

/// Cuts segments at the end of their file.
fn clamp_to_files(segments: &mut [ResolvedSegment], files: &[OpenFile<'_>]) {
    for segment in segments {
        let available = bytes_to_end(&files[segment.file_index], segment.file_offset_bytes);
        segment.len_bytes = segment.len_bytes.min(available);
    }
}

fn bytes_to_end(file: &OpenFile<'_>, file_offset_bytes: u64) -> u64 {
    file.facts().size_bytes.saturating_sub(file_offset_bytes)
}

fn wants_direct(policy: Policy) -> bool {
    policy != Policy::Named(Path::Buffered)
}

/// Whether all that is asked of a file is one segment of few bytes.
fn has_few_bytes(segments: &[ResolvedSegment], file_index: usize, file: &OpenFile<'_>) -> bool {
    let mut of_file = segments.iter().filter(|segment| segment.file_index == file_index);
    let (Some(only), None) = (of_file.next(), of_file.next()) else { return false };
    only.len_bytes.min(bytes_to_end(file, only.file_offset_bytes)) <= REOPENING_PAYS_ABOVE_BYTES
}

fn has_unaligned(segments: &[ResolvedSegment], file_index: usize, file: &OpenFile<'_>) -> bool {
    let align = u64::from(file.facts().offset_align_bytes());
    segments
        .iter()
        .filter(|segment| segment.file_index == file_index)
        .any(|s| s.file_offset_bytes % align != 0 || s.len_bytes % align != 0)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
