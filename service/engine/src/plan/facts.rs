// SPDX-License-Identifier: Apache-2.0
//! What a plan is made from: the request, its files, and the kernel. Plain data.

use std::sync::Arc;

use crate::buffer::PageKind;
use crate::file::FileFacts;
use crate::heap::HeapKind;
use crate::io_path::{Direction, Support};
use crate::request::{Policy, ResolvedSegment};

/// What a request asks of its files and its buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestFacts<'a> {
    /// Load or save.
    pub(crate) direction: Direction,
    /// Which paths are permitted.
    pub(crate) policy: Policy,
    /// The files, by their index in the request.
    pub(crate) files: &'a [&'a FileFacts],
}

impl<'a> RequestFacts<'a> {
    /// The facts about one range.
    pub(super) fn of(&self, range: ResolvedSegment, buffer: &'a BufferFacts) -> RangeFacts<'a> {
        RangeFacts {
            direction: self.direction,
            policy: self.policy,
            file: self.files[range.file_index],
            range,
            buffer,
        }
    }
}

/// What the kernel and the engine can do with a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BufferFacts {
    /// `copy_file_range(2)`. The other paths need no support, or show it by the buffer's memory.
    pub(crate) copy_file_range: Support,
    /// Whether the engine has the memfd behind the buffer mapped.
    pub(crate) is_backed: bool,
}

/// All that decides whether a path can take a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeFacts<'a> {
    /// Load or save.
    pub(crate) direction: Direction,
    /// Which paths are permitted.
    pub(crate) policy: Policy,
    /// The file.
    pub(crate) file: &'a FileFacts,
    /// The range.
    pub(crate) range: ResolvedSegment,
    /// The buffer.
    pub(crate) buffer: &'a BufferFacts,
}

/// Memory that a new buffer could be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryOption {
    /// The name of the heap.
    pub(crate) heap: Arc<str>,
    /// What stands behind the heap.
    pub(crate) kind: HeapKind,
    /// The pages, where the engine chooses them.
    pub(crate) pages: Option<PageKind>,
    /// `copy_file_range(2)` with such a buffer.
    pub(crate) copy_file_range: Support,
    /// The pool has one free, so that it need not be allocated and zeroed.
    pub(crate) is_free: bool,
    /// The pool will want the buffer back with its memory mapped.
    pub(crate) stays_mapped: bool,
}
