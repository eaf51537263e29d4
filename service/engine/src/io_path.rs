// SPDX-License-Identifier: Apache-2.0
//! The five ways to move bytes between a file and a buffer, and the reasons not to take one.

use std::fmt;
use std::sync::Arc;

use dmabuf_uapi::Errno;

use crate::error::errno_text;

/// A way to move bytes between a file and a buffer. A cheaper one is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IoPath {
    /// `copy_file_range(2)` on a file that is open with `O_DIRECT`.
    CopyFileRangeDirect,
    /// `O_DIRECT` reads into the memfd behind a udmabuf.
    UdmabufDirect,
    /// `O_DIRECT` into bounce buffers, and a CPU copy.
    Bounce,
    /// `copy_file_range(2)` from or to the page cache.
    CopyFileRangeBuffered,
    /// `read(2)` or `write(2)` on a mapping of the buffer.
    Buffered,
}

impl IoPath {
    /// Every path, by CPU cycles per byte for a given buffer (see `plan/cost.rs`).
    pub const CHEAPEST_FIRST: [IoPath; 5] = [
        IoPath::CopyFileRangeDirect,
        IoPath::UdmabufDirect,
        IoPath::Bounce,
        IoPath::CopyFileRangeBuffered,
        IoPath::Buffered,
    ];

    /// Whether the storage device writes or reads the buffer's own pages.
    pub const fn is_direct(self) -> bool {
        matches!(self, IoPath::CopyFileRangeDirect | IoPath::UdmabufDirect)
    }

    /// The name under which requests and reports know it.
    pub const fn name(self) -> PathName {
        match self {
            IoPath::CopyFileRangeDirect | IoPath::CopyFileRangeBuffered => PathName::CopyFileRange,
            IoPath::UdmabufDirect => PathName::UdmabufDirect,
            IoPath::Bounce => PathName::Bounce,
            IoPath::Buffered => PathName::Buffered,
        }
    }

    /// The path for a log or an error message.
    pub const fn as_str(self) -> &'static str {
        match self {
            IoPath::CopyFileRangeDirect => "COPY_FILE_RANGE direct",
            IoPath::UdmabufDirect => "UDMABUF_DIRECT direct",
            IoPath::Bounce => "BOUNCE copied",
            IoPath::CopyFileRangeBuffered => "COPY_FILE_RANGE buffered",
            IoPath::Buffered => "BUFFERED buffered",
        }
    }
}

impl fmt::Display for IoPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A path as the contract names it: `COPY_FILE_RANGE` is the direct and the buffered one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathName {
    /// [`IoPath::CopyFileRangeDirect`] and [`IoPath::CopyFileRangeBuffered`].
    CopyFileRange,
    /// [`IoPath::UdmabufDirect`].
    UdmabufDirect,
    /// [`IoPath::Bounce`].
    Bounce,
    /// [`IoPath::Buffered`].
    Buffered,
}

impl PathName {
    /// Every name.
    pub const ALL: [PathName; 4] =
        [PathName::CopyFileRange, PathName::UdmabufDirect, PathName::Bounce, PathName::Buffered];
}

impl fmt::Display for PathName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            PathName::CopyFileRange => "COPY_FILE_RANGE",
            PathName::UdmabufDirect => "UDMABUF_DIRECT",
            PathName::Bounce => "BOUNCE",
            PathName::Buffered => "BUFFERED",
        })
    }
}

/// Where the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// File to buffer.
    Load,
    /// Buffer to file.
    Save,
}

/// Text for a human about what was found. Cheap to copy, since every request of a heap repeats it.
pub type Detail = Arc<str>;

/// Whether the kernel can take a path for the buffers of a heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// The path works, or has not been ruled out.
    pub supported: bool,
    /// What was found.
    pub detail: Detail,
}

/// Why a path is not taken, with what was found. Its `Display` is for a human.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The kernel does not support the path for this buffer.
    KernelUnsupported(Detail),
    /// The file system does no direct I/O on this file.
    FileNotDirect(Detail),
    /// The file is open without `O_DIRECT` and cannot be reopened with it.
    FileOpenedBuffered(Detail),
    /// The file is open without `O_DIRECT`, and reopening it costs more than it saves.
    ReopeningCostsMore,
    /// The file is open with `O_DIRECT` and cannot be reopened without it.
    FileOpenedDirect,
    /// File offset and buffer offset differ modulo the alignment.
    Misaligned {
        /// In bytes.
        file_offset_bytes: u64,
        /// In bytes.
        buffer_offset_bytes: u64,
        /// In bytes.
        align_bytes: u64,
    },
    /// A save to a file that is open with `O_DIRECT` alone is not in multiples of the alignment.
    UnalignedSave {
        /// In bytes.
        align_bytes: u64,
    },
    /// The range holds no whole block, so that nothing of it would move directly.
    NoWholeBlock {
        /// The block size in bytes.
        align_bytes: u64,
    },
    /// The buffer is attached to a device, or mapped by the kernel.
    BufferBusy(Errno),
    /// The request requires direct I/O.
    NotDirect,
    /// The request permits other paths alone.
    NotPermitted,
    /// The kernel refused when it was tried.
    RefusedByKernel(Errno),
    /// The engine has no memfd behind the buffer: the heap has none, or the buffer existed before.
    NoMemfd,
}

/// The kind of a [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The kernel does not support the path for this buffer.
    KernelUnsupported,
    /// The file system does no direct I/O on this file.
    FileNotDirect,
    /// The file is open without `O_DIRECT` and cannot be reopened with it.
    FileOpenedBuffered,
    /// The file is open without `O_DIRECT`, and reopening it costs more than it saves.
    ReopeningCostsMore,
    /// The file is open with `O_DIRECT` and cannot be reopened without it.
    FileOpenedDirect,
    /// Offsets or length do not fit the alignment.
    Unaligned,
    /// The buffer is attached to a device, or mapped by the kernel.
    BufferBusy,
    /// The request excludes the path.
    ExcludedByPolicy,
    /// The kernel refused when it was tried.
    RefusedByKernel,
    /// The path does not work on buffers of this heap, or on buffers that exist already.
    HeapUnsuitable,
}

impl Refusal {
    /// What an answer of the kernel to an attempt means.
    pub(crate) fn of_attempt(errno: Errno) -> Self {
        match errno {
            Errno::BUSY => Self::BufferBusy(errno),
            _ => Self::RefusedByKernel(errno),
        }
    }

    /// Its kind.
    pub fn reason(&self) -> Reason {
        match self {
            Self::KernelUnsupported(_) => Reason::KernelUnsupported,
            Self::FileNotDirect(_) => Reason::FileNotDirect,
            Self::FileOpenedBuffered(_) => Reason::FileOpenedBuffered,
            Self::ReopeningCostsMore => Reason::ReopeningCostsMore,
            Self::FileOpenedDirect => Reason::FileOpenedDirect,
            Self::Misaligned { .. } | Self::UnalignedSave { .. } | Self::NoWholeBlock { .. } => {
                Reason::Unaligned
            }
            Self::BufferBusy(_) => Reason::BufferBusy,
            Self::NotDirect | Self::NotPermitted => Reason::ExcludedByPolicy,
            Self::RefusedByKernel(_) => Reason::RefusedByKernel,
            Self::NoMemfd => Reason::HeapUnsuitable,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KernelUnsupported(detail)
            | Self::FileNotDirect(detail)
            | Self::FileOpenedBuffered(detail) => formatter.write_str(detail),
            Self::ReopeningCostsMore => formatter.write_str(
                "the file is open without O_DIRECT, and reopening it for so few bytes costs more",
            ),
            Self::FileOpenedDirect => formatter
                .write_str("the file is open with O_DIRECT and cannot be reopened without it"),
            Self::Misaligned { file_offset_bytes, buffer_offset_bytes, align_bytes } => write!(
                formatter,
                "file offset {file_offset_bytes} and buffer offset {buffer_offset_bytes} differ \
                 modulo {align_bytes}"
            ),
            Self::UnalignedSave { align_bytes } => write!(
                formatter,
                "a file open with O_DIRECT takes only multiples of {align_bytes} bytes"
            ),
            Self::NoWholeBlock { align_bytes } => {
                write!(formatter, "the segment holds no whole block of {align_bytes} bytes")
            }
            Self::BufferBusy(errno) => write!(
                formatter,
                "the buffer is in use by a device or the kernel: {}",
                errno_text(*errno)
            ),
            Self::NotDirect => formatter.write_str("the policy requires direct I/O"),
            Self::NotPermitted => formatter.write_str("the request does not permit it"),
            Self::RefusedByKernel(errno) => {
                write!(formatter, "the kernel refused: {}", errno_text(*errno))
            }
            Self::NoMemfd => {
                formatter.write_str("this request has mapped no memfd behind the buffer")
            }
        }
    }
}

/// A cheaper path than the one taken, and why it was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// The cheaper path.
    pub path: IoPath,
    /// Why it was not taken.
    pub refusal: Refusal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_a_name_and_each_name_a_path() {
        for name in PathName::ALL {
            assert!(IoPath::CHEAPEST_FIRST.iter().any(|path| path.name() == name), "{name}");
        }
        for path in IoPath::CHEAPEST_FIRST {
            assert!(path.as_str().starts_with(&path.name().to_string()), "{path}");
        }
    }

    #[test]
    fn an_attempt_on_a_busy_buffer_says_so() {
        assert_eq!(Refusal::of_attempt(Errno::BUSY).reason(), Reason::BufferBusy);
        assert_eq!(Refusal::of_attempt(Errno::INVAL).reason(), Reason::RefusedByKernel);
    }
}
