// SPDX-License-Identifier: Apache-2.0
//! The paths: ways to move bytes between a file and a buffer, one module each.

mod batches;
mod bounce;
mod bounce_memory;
mod buffered;
mod copy_file_range;
pub(crate) mod gather;
mod in_flight;
mod split;
mod udmabuf_direct;
mod words;

use std::fmt;

use dmabuf_uapi::Errno;

use crate::buffer::BufferView;
use crate::error::Result;
use crate::file::{FileFacts, OpenFile};
use crate::request::ResolvedSegment;

pub(crate) use bounce::Bounce;
pub(crate) use buffered::Buffered;
pub(crate) use copy_file_range::CopyFileRange;
pub(crate) use udmabuf_direct::UdmabufDirect;
pub use words::Words;

/// A path by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// `copy_file_range(2)` between file and dma-buf.
    CopyFileRange,
    /// `O_DIRECT` reads into the memfd behind a udmabuf.
    UdmabufDirect,
    /// `O_DIRECT` into bounce buffers, and a copy.
    Bounce,
    /// `read(2)` or `write(2)` on a mapping of the buffer.
    Buffered,
}

impl Path {
    /// Every path.
    pub const ALL: [Path; 4] =
        [Path::CopyFileRange, Path::UdmabufDirect, Path::Bounce, Path::Buffered];
}

/// A path in its direct or its buffered form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// The path.
    pub path: Path,
    /// Whether by direct I/O.
    pub direct: bool,
}

impl Way {
    /// Every way, best first: fewest CPU cycles per byte for a given buffer, see [`crate::cost`].
    pub const BEST_FIRST: [Way; 5] = [
        Way { path: Path::CopyFileRange, direct: true },
        Way { path: Path::UdmabufDirect, direct: true },
        Way { path: Path::Bounce, direct: false },
        Way { path: Path::CopyFileRange, direct: false },
        Way { path: Path::Buffered, direct: false },
    ];
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Path::CopyFileRange => "COPY_FILE_RANGE",
            Path::UdmabufDirect => "UDMABUF_DIRECT",
            Path::Bounce => "BOUNCE",
            Path::Buffered => "BUFFERED",
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.path {
            _ if self.direct => "direct",
            Path::Bounce => "copied",
            _ => "buffered",
        };
        write!(formatter, "{} {form}", self.path)
    }
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// File to buffer.
    Load,
    /// Buffer to file.
    Save,
}

/// Whether the kernel can take a path for buffers of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// It works, or has not been ruled out.
    pub supported: bool,
    /// What was found, for a human.
    pub detail: Words,
}

/// Why a way is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The kernel cannot do it for this buffer.
    KernelUnsupported,
    /// The file system does no direct I/O on this file.
    FileNotDirect,
    /// The file is opened without `O_DIRECT` and cannot be reopened with it.
    FileOpenedBuffered,
    /// The file is opened without `O_DIRECT`, and so few bytes do not pay for reopening it.
    ReopeningCostsMore,
    /// The file is opened with `O_DIRECT` and cannot be reopened without it.
    FileOpenedDirect,
    /// Offsets or length do not fit the alignment.
    Unaligned,
    /// The buffer is attached or mapped by the kernel.
    BufferBusy,
    /// The request excludes it.
    ExcludedByPolicy,
    /// The kernel refused when it was tried.
    RefusedByKernel,
    /// The path does not work on buffers of this heap, or on buffers that exist already.
    HeapUnsuitable,
}

/// A reason and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// What was found, for a human.
    pub detail: Words,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, detail: impl Into<Words>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// How a way divides a segment: edges that go through the CPU, and the body between them. Lengths in bytes.
///
/// With copy_file_range a load has no tail: the kernel reads the last block aside and copies only what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Before the first aligned byte.
    pub head_bytes: u64,
    /// What the way itself moves.
    pub body_bytes: u64,
    /// After the last aligned byte.
    pub tail_bytes: u64,
}

/// All that decides whether a way can take a segment.
#[derive(Clone, Copy, Debug)]
pub struct SegmentFacts<'a> {
    /// Load or save.
    pub direction: Direction,
    /// The file.
    pub file: &'a FileFacts,
    /// The range.
    pub segment: ResolvedSegment,
    /// Whether the engine has the memfd behind the buffer.
    pub buffer_is_backed: bool,
}

/// Bytes per call, where nobody follows: smaller calls are slower, and whoever cancels waits for no more than those in
/// flight, which are one or, in a large direct load, up to four.
pub(crate) const BATCH_BYTES: u64 = 32 << 20;

/// One range, ready to move.
pub(crate) struct Transfer<'a> {
    pub(crate) direction: Direction,
    pub(crate) direct: bool,
    pub(crate) file: &'a OpenFile<'a>,
    pub(crate) file_offset_bytes: u64,
    pub(crate) buffer: &'a BufferView<'a>,
    pub(crate) buffer_offset_bytes: u64,
    pub(crate) len_bytes: u64,
    /// The most bytes of one call.
    pub(crate) batch_bytes: u64,
    /// Told after each call how many bytes from the start of the range are there.
    pub(crate) follower: &'a (dyn Fn(u64) + Sync),
}

/// How far a transfer came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes moved. Fewer than asked for without a refusal means that the file ended.
    pub(crate) bytes: u64,
    /// The kernel would not go on; another way may.
    pub(crate) refused: Option<Errno>,
}

/// The answers that mean: not this way.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::INVAL | Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::BUSY | Errno::FAULT
    )
}

/// One path.
pub(crate) trait TransferPath {
    /// Tries the path on a fresh buffer that nobody else uses.
    fn probe(&self, sample: &BufferView<'_>) -> Support;

    /// Divides a segment for this path, without any I/O, or says why it cannot take it.
    fn split(&self, direct: bool, facts: &SegmentFacts<'_>) -> std::result::Result<Split, Refusal>;

    /// Moves the bytes of one body.
    fn run(&self, transfer: &Transfer<'_>) -> Result<Progress>;
}

impl Path {
    pub(crate) fn implementation(self) -> &'static dyn TransferPath {
        match self {
            Path::CopyFileRange => &CopyFileRange,
            Path::UdmabufDirect => &UdmabufDirect,
            Path::Bounce => &Bounce,
            Path::Buffered => &Buffered,
        }
    }
}
