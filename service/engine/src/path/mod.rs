// SPDX-License-Identifier: Apache-2.0
//! Execution of the paths, one file each: trying a path on a buffer of a heap, and moving one
//! range.
//!
//! Which path moves which range is the plan's decision ([`crate::plan`]).

mod batches;
mod bounce;
mod bounce_memory;
mod buffered;
mod chunks;
mod coalesce;
mod copy_file_range;
mod footprint;
mod range_copy;
mod udmabuf_direct;

use crate::buffer::BufferView;
use crate::error::Result;
use crate::io_path::{IoPath, PathName, Support};

pub(crate) use bounce_memory::BounceMemory;
pub(crate) use coalesce::load as load_coalesced;
pub(crate) use range_copy::{IoResources, Moved, RangeCopy};

/// Tries a path on a fresh buffer that nobody else uses.
pub(crate) fn probe(name: PathName, sample: &BufferView<'_>) -> Support {
    match name {
        PathName::CopyFileRange => copy_file_range::probe(sample),
        PathName::UdmabufDirect => udmabuf_direct::probe(sample),
        PathName::Bounce | PathName::Buffered => {
            Support { supported: true, detail: "needs nothing of the kernel".into() }
        }
    }
}

/// Moves one range by a path.
///
/// # Errors
/// [`EngineError::Io`] for an answer of the kernel that no other path would change;
/// [`EngineError::Cancelled`] and [`EngineError::DeadlineExceeded`] between two calls.
///
/// [`EngineError::Io`]: crate::EngineError::Io
/// [`EngineError::Cancelled`]: crate::EngineError::Cancelled
/// [`EngineError::DeadlineExceeded`]: crate::EngineError::DeadlineExceeded
pub(crate) fn run(path: IoPath, copy: &RangeCopy<'_, '_>) -> Result<Moved> {
    match path {
        IoPath::CopyFileRangeDirect => copy_file_range::run_direct(copy),
        IoPath::UdmabufDirect => udmabuf_direct::run(copy),
        IoPath::Bounce => bounce::run(copy),
        IoPath::CopyFileRangeBuffered => copy_file_range::run_buffered(copy),
        IoPath::Buffered => buffered::run(copy),
    }
}
