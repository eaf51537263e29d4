// SPDX-License-Identifier: Apache-2.0
//! The first half of a request: inspects the files, resolves the segments and makes the plan.
//! Nothing is allocated and no byte is moved.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use crate::allocator::{Allocator, NamedSize};
use crate::buffer::{check_client_mode, BufferKind, BufferUse, BufferView};
use crate::context::Context;
use crate::error::{Argument, EngineError, Result};
use crate::file::fs_verity;
use crate::file::{ClientFd, FileFacts, KnownFileSystems, Needs, OpenFile};
use crate::io_path::Direction;
use crate::plan::cost::REOPENING_PAYS_ABOVE_BYTES;
use crate::plan::{plan_existing, plan_new, Alternative, BufferFacts, RequestFacts, Step};
use crate::pool::AllocRequest;
use crate::request::{
    check_buffer_ranges, check_counts, check_targets_in_buffer, check_targets_in_files,
    check_verity_indices, covered_bytes, merge_adjacent, resolve, DigestRequest, FileDigest,
    LoadRequest, NewBuffer, Policy, ResolvedSegment, SaveRequest, Segment, Target,
};

/// A load that can run: its arguments are checked, its files are open, its plan is made.
#[derive(Debug)]
pub struct PreparedLoad {
    pub(crate) files: Vec<OpenFile>,
    /// Cut at the end of their file.
    pub(crate) segments: Vec<ResolvedSegment>,
    pub(crate) policy: Policy,
    pub(crate) digests: DigestRequest,
    pub(crate) verity: Vec<FileDigest>,
    pub(crate) target: PreparedTarget,
}

/// Where a prepared load puts the bytes.
#[derive(Debug)]
pub(crate) enum PreparedTarget {
    /// Into a buffer of the first of the alternatives that has the memory.
    New { named: NamedSize, overwritten: bool, alternatives: Vec<Alternative> },
    /// Into the client's buffer.
    Existing { buffer: ClientBuffer, steps: Vec<Step> },
}

/// A client's buffer, checked.
#[derive(Debug)]
pub(crate) struct ClientBuffer {
    fd: ClientFd,
    size_bytes: u64,
    kind: BufferKind,
}

impl ClientBuffer {
    fn check(
        mut fd: ClientFd,
        argument: Argument,
        usage: BufferUse,
        allow_memfd: bool,
    ) -> Result<Self> {
        let BufferView { size_bytes, kind, .. } =
            BufferView::of_client(fd.as_fd(), argument, allow_memfd)?;
        fd.closes_at_once();
        check_client_mode(fd.as_fd(), argument, usage)?;
        Ok(Self { fd, size_bytes, kind })
    }

    /// The buffer as the paths see it.
    pub(crate) fn view(&self) -> BufferView<'_> {
        BufferView::new(self.fd.as_fd(), self.size_bytes, self.kind)
    }
}

impl PreparedLoad {
    /// The size of the buffer that the load is going to allocate, in bytes; 0 where its target
    /// exists.
    pub fn new_buffer_bytes(&self) -> u64 {
        match &self.target {
            PreparedTarget::New { named, .. } => named.size_bytes,
            PreparedTarget::Existing { .. } => 0,
        }
    }

    /// How many bytes the load is going to move, unless a file becomes shorter.
    pub fn total_bytes(&self) -> u64 {
        covered_bytes(&self.segments)
    }
}

/// A save that can run.
#[derive(Debug)]
pub struct PreparedSave {
    pub(crate) files: Vec<OpenFile>,
    pub(crate) segments: Vec<ResolvedSegment>,
    pub(crate) policy: Policy,
    pub(crate) buffer: ClientBuffer,
    pub(crate) steps: Vec<Step>,
}

impl PreparedSave {
    /// How many bytes the save is going to move.
    pub fn total_bytes(&self) -> u64 {
        covered_bytes(&self.segments)
    }
}

/// What an engine checks requests against.
#[derive(Clone, Copy)]
pub(crate) struct Inspection<'a> {
    pub(crate) allocator: &'a Allocator,
    pub(crate) file_systems: &'a Arc<KnownFileSystems>,
    pub(crate) allow_memfd: bool,
}

impl Inspection<'_> {
    fn own(&self, fd: OwnedFd) -> ClientFd {
        ClientFd::new(fd, self.file_systems)
    }

    /// Before anything can fail: what is not checked yet must not be closed by this thread.
    fn own_all(&self, fds: Vec<OwnedFd>) -> Vec<ClientFd> {
        fds.into_iter().map(|fd| self.own(fd)).collect()
    }
}

/// Prepares a load.
///
/// # Errors
/// Any [`EngineError`] that concerns an argument.
pub(crate) fn prepare_load(
    inspection: Inspection<'_>,
    request: LoadRequest,
    context: &Context,
) -> Result<PreparedLoad> {
    let LoadRequest { target, files, segments, policy, digests } = request;
    let Inspection { allocator, allow_memfd, .. } = inspection;
    let files = inspection.own_all(files);
    let target = match target {
        Target::New(new) => Wanted::New(new),
        Target::Existing(fd) => Wanted::Existing(inspection.own(fd)),
    };
    context.check()?;
    check_counts(files.len(), &segments)?;
    check_verity_indices(&digests.expected_verity, files.len())?;
    let mut files = inspect_files(files, Direction::Load)?;
    let verity = fs_verity::check(&digests, &files)?;
    let to_end =
        |segment: &Segment| files[segment.file_index].facts().bytes_from(segment.file_offset_bytes);
    let asked = resolve(&segments, to_end)?;
    check_targets_in_buffer(&asked)?;
    let segments = clamp_to_files(&asked, &files);
    let direct = policy.wants_direct();
    for (index, file) in files.iter_mut().enumerate() {
        let few_bytes = policy == Policy::AUTO && has_few_bytes(&segments, index);
        file.reopen_for(Needs { direct, few_bytes, unaligned_writes: false });
    }
    let extents = merge_adjacent(&segments);
    let facts: Vec<&FileFacts> = files.iter().map(OpenFile::facts).collect();
    let facts = RequestFacts { direction: Direction::Load, policy, files: &facts };
    let target = match target {
        Wanted::New(new) => {
            let new = sized(new, &asked)?;
            let named = NamedSize::new(&new)?;
            let overwritten = covered_bytes(&segments) == new.size_bytes;
            let options = allocator.options(
                &new.heap,
                AllocRequest {
                    size_bytes: named.size_bytes,
                    client: context.client,
                    overwritten,
                    now: Instant::now(),
                },
            )?;
            let alternatives = plan_new(&facts, &extents, options)?;
            PreparedTarget::New { named, overwritten, alternatives }
        }
        Wanted::Existing(fd) => {
            let argument = Argument::ExistingTarget;
            let buffer = ClientBuffer::check(fd, argument, BufferUse::Fill, allow_memfd)?;
            check_buffer_ranges(&asked, buffer.size_bytes)?;
            let steps = plan_existing(&facts, &extents, &buffer_facts(allocator, &buffer))?;
            PreparedTarget::Existing { buffer, steps }
        }
    };
    Ok(PreparedLoad { files, segments, policy, digests, verity, target })
}

/// Prepares a save.
///
/// # Errors
/// Any [`EngineError`] that concerns an argument.
pub(crate) fn prepare_save(
    inspection: Inspection<'_>,
    request: SaveRequest,
    context: &Context,
) -> Result<PreparedSave> {
    let SaveRequest { buffer, files, segments, policy } = request;
    let Inspection { allocator, allow_memfd, .. } = inspection;
    let (buffer, files) = (inspection.own(buffer), inspection.own_all(files));
    context.check()?;
    check_counts(files.len(), &segments)?;
    let buffer = ClientBuffer::check(buffer, Argument::Buffer, BufferUse::Read, allow_memfd)?;
    let mut files = inspect_files(files, Direction::Save)?;
    let to_end = |segment: &Segment| buffer.size_bytes.saturating_sub(segment.buffer_offset_bytes);
    let segments = resolve(&segments, to_end)?;
    check_buffer_ranges(&segments, buffer.size_bytes)?;
    let identities: Vec<_> = files.iter().map(OpenFile::identity).collect();
    check_targets_in_files(&segments, &identities)?;
    let direct = policy.wants_direct();
    for (index, file) in files.iter_mut().enumerate() {
        let unaligned_writes = has_unaligned(&segments, index, file.facts());
        file.reopen_for(Needs { direct, few_bytes: false, unaligned_writes });
    }
    let extents = merge_adjacent(&segments);
    let facts: Vec<&FileFacts> = files.iter().map(OpenFile::facts).collect();
    let facts = RequestFacts { direction: Direction::Save, policy, files: &facts };
    let steps = plan_existing(&facts, &extents, &buffer_facts(allocator, &buffer))?;
    Ok(PreparedSave { files, segments, policy, buffer, steps })
}

fn buffer_facts(allocator: &Allocator, buffer: &ClientBuffer) -> BufferFacts {
    let capabilities = allocator.capabilities();
    BufferFacts {
        copy_file_range: capabilities.copy_file_range_of_client(allocator.heaps(), buffer.kind),
        is_backed: false,
    }
}

/// The target of a load, with its fd taken over.
enum Wanted {
    New(NewBuffer),
    Existing(ClientFd),
}

fn inspect_files(fds: Vec<ClientFd>, direction: Direction) -> Result<Vec<OpenFile>> {
    fds.into_iter().enumerate().map(|(index, fd)| OpenFile::inspect(fd, index, direction)).collect()
}

/// The request for a new buffer, with the size that the segments need where it names none.
fn sized(new: NewBuffer, segments: &[ResolvedSegment]) -> Result<NewBuffer> {
    let needed_bytes = segments.iter().map(ResolvedSegment::buffer_end_bytes).max().unwrap_or(0);
    if new.size_bytes == 0 && needed_bytes == 0 {
        return Err(EngineError::bad_argument(
            Argument::NewBufferSize,
            "is 0 and the segments hold no byte (an empty file?), a buffer has at least 1 byte",
        ));
    }
    let size_bytes = if new.size_bytes == 0 { needed_bytes } else { new.size_bytes };
    // Against the size asked for, not the rounded one.
    check_buffer_ranges(segments, size_bytes)?;
    Ok(NewBuffer { size_bytes, ..new })
}

/// The segments, cut at the end of their file.
fn clamp_to_files(segments: &[ResolvedSegment], files: &[OpenFile]) -> Vec<ResolvedSegment> {
    let clamp = |segment: &ResolvedSegment| {
        segment.cut_at_file_offset(files[segment.file_index].facts().size_bytes)
    };
    segments.iter().map(clamp).collect()
}

/// Whether all that is asked of a file is one segment of few bytes.
fn has_few_bytes(segments: &[ResolvedSegment], file_index: usize) -> bool {
    let mut of_file = segments.iter().filter(|segment| segment.file_index == file_index);
    let (Some(only), None) = (of_file.next(), of_file.next()) else { return false };
    only.len_bytes <= REOPENING_PAYS_ABOVE_BYTES
}

fn has_unaligned(segments: &[ResolvedSegment], file_index: usize, file: &FileFacts) -> bool {
    let align = u64::from(file.offset_align_bytes());
    segments
        .iter()
        .filter(|segment| segment.file_index == file_index)
        .any(|s| s.file_offset_bytes % align != 0 || s.len_bytes % align != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_requests_can_be_queued_for_another_thread() {
        fn can_be_queued<T: Send + 'static>() {}
        can_be_queued::<PreparedLoad>();
        can_be_queued::<PreparedSave>();
    }
}
