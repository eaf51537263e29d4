// SPDX-License-Identifier: Apache-2.0
//! One range to be moved by one path, and how far it came.

use std::ops::Range;

use dmabuf_uapi::Errno;

use super::bounce_memory::BounceMemory;
use crate::buffer::CpuView;
use crate::context::Context;
use crate::file::OpenFile;
use crate::io_path::Direction;
use crate::request::ResolvedSegment;
use crate::threads::Threads;

/// What the paths of all requests share.
#[derive(Debug)]
pub(crate) struct IoResources {
    pub(crate) threads: Threads,
    pub(crate) bounce_memory: BounceMemory,
}

/// One range, ready to be moved.
#[derive(Clone, Copy)]
pub(crate) struct RangeCopy<'a, 'b> {
    pub(crate) direction: Direction,
    pub(crate) file: &'a OpenFile,
    pub(crate) buffer: &'a CpuView<'b>,
    /// Its places in the file and in the buffer.
    pub(crate) range: ResolvedSegment,
    /// The most bytes of one call.
    pub(crate) batch_bytes: u64,
    pub(crate) resources: &'a IoResources,
    /// Asked between two calls.
    pub(crate) context: &'a Context,
    /// Told which bytes, counted from the start of the range, have been moved, in any order and
    /// from any thread.
    pub(crate) moved: &'a (dyn Fn(Range<u64>) + Sync),
}

impl RangeCopy<'_, '_> {
    /// The alignment of file offsets that direct I/O needs, in bytes.
    pub(super) fn offset_align_bytes(&self) -> u64 {
        u64::from(self.file.facts().offset_align_bytes())
    }
}

/// How far a range came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Bytes moved. Fewer than asked for without a refusal means that the file ended.
    pub(crate) bytes: u64,
    /// The kernel did not go on; another path may.
    pub(crate) refused: Option<Errno>,
}

impl Moved {
    /// So many bytes, and the kernel refused nothing.
    pub(super) fn bytes(bytes: u64) -> Self {
        Self { bytes, refused: None }
    }

    /// Nothing, because the fd or the memory that the path needs is missing.
    pub(super) fn not_possible() -> Self {
        Self { bytes: 0, refused: Some(Errno::BADF) }
    }
}

/// The answers of the kernel that mean: not by this path.
pub(super) fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::INVAL | Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::BUSY | Errno::FAULT
    )
}
