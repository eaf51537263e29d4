// SPDX-License-Identifier: Apache-2.0
//! The calls to the kernel that can fail a request, and whose fault each errno of each call is.
//! Imports nothing of the engine.

use std::fmt;

use dmabuf_uapi::Errno;

/// A call to the kernel that a request makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Allocates the memory of a new buffer.
    AllocateBuffer,
    /// Maps the memory that bounced bytes pass through.
    AllocateBounceMemory,
    /// Maps a buffer.
    MapBuffer,
    /// Polls a buffer for its fences.
    WaitForDevices,
    /// `DMA_BUF_SYNC_START`.
    BeginCpuAccess,
    /// `DMA_BUF_SYNC_END`.
    EndCpuAccess,
    /// Copies from memory into a buffer.
    CopyIntoBuffer,
    /// Copies from a buffer into memory.
    CopyOutOfBuffer,
    /// Sets bytes of a buffer to zero.
    ZeroBuffer,
    /// Reads a buffer for its digest.
    DigestBuffer,
    /// Duplicates an fd of a request.
    DuplicateFd,
    /// Asks for the properties of an fd of a request.
    InspectFd,
    /// Reads a file through the page cache.
    ReadFile,
    /// Reads a file with `O_DIRECT`.
    ReadFileDirectly,
    /// `copy_file_range(2)` from a file to a buffer.
    CopyRangeFromFile,
    /// Writes a file through the page cache.
    WriteFile,
    /// Writes a file with `O_DIRECT`.
    WriteFileDirectly,
    /// `copy_file_range(2)` from a buffer to a file.
    CopyRangeToFile,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 18] = [
        Self::AllocateBuffer,
        Self::AllocateBounceMemory,
        Self::MapBuffer,
        Self::WaitForDevices,
        Self::BeginCpuAccess,
        Self::EndCpuAccess,
        Self::CopyIntoBuffer,
        Self::CopyOutOfBuffer,
        Self::ZeroBuffer,
        Self::DigestBuffer,
        Self::DuplicateFd,
        Self::InspectFd,
        Self::ReadFile,
        Self::ReadFileDirectly,
        Self::CopyRangeFromFile,
        Self::WriteFile,
        Self::WriteFileDirectly,
        Self::CopyRangeToFile,
    ];

    /// Whose fault it is that the operation fails with this errno.
    pub fn fault(self, errno: Errno) -> Fault {
        let row = TABLE.iter().find(|row| row.errnos.contains(&errno));
        let [allocate, map, sync, touch, inspect, read, write] =
            row.map_or(OTHERS, |row| row.fault);
        match self {
            Self::AllocateBuffer | Self::AllocateBounceMemory => allocate,
            Self::MapBuffer => map,
            Self::WaitForDevices | Self::BeginCpuAccess | Self::EndCpuAccess => sync,
            Self::CopyIntoBuffer
            | Self::CopyOutOfBuffer
            | Self::ZeroBuffer
            | Self::DigestBuffer => touch,
            Self::DuplicateFd | Self::InspectFd => inspect,
            Self::ReadFile | Self::ReadFileDirectly | Self::CopyRangeFromFile => read,
            Self::WriteFile | Self::WriteFileDirectly | Self::CopyRangeToFile => write,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AllocateBuffer => "allocate the buffer",
            Self::AllocateBounceMemory => "allocate a bounce buffer",
            Self::MapBuffer => "map the buffer",
            Self::WaitForDevices => "wait for the devices that use the buffer",
            Self::BeginCpuAccess => "begin CPU access to the buffer",
            Self::EndCpuAccess => "end CPU access to the buffer",
            Self::CopyIntoBuffer => "copy into the buffer",
            Self::CopyOutOfBuffer => "copy out of the buffer",
            Self::ZeroBuffer => "zero the buffer",
            Self::DigestBuffer => "read the buffer for its digest",
            Self::DuplicateFd => "duplicate the fd",
            Self::InspectFd => "inspect the fd",
            Self::ReadFile => "read the file",
            Self::ReadFileDirectly => "read the file directly",
            Self::WriteFile => "write the file",
            Self::WriteFileDirectly => "write the file directly",
            Self::CopyRangeFromFile | Self::CopyRangeToFile => "copy_file_range",
        })
    }
}

/// Whose fault a failed call is, and so who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's: the request asks for a range that the file system cannot have.
    BadArgument,
    /// The client's: the fd does not permit the operation. It lacks the access mode, SELinux or a
    /// seal or an attribute of the file forbids the operation, or the file's key is missing.
    BadFd,
    /// The client's: the fd is open on something that does not support the operation.
    UnsupportedFile,
    /// The machine lacks memory, or the process lacks fds.
    NoMemory,
    /// The file cannot grow: the storage is full, or a quota or a size limit is reached.
    NoSpace,
    /// Somebody else uses the buffer or the file now.
    Busy,
    /// The storage, its file system or the exporter of the buffer failed.
    Storage,
    /// The engine's or the kernel's: the client can do nothing.
    Kernel,
}

/// What an errno means to each group of operations.
struct Row {
    errnos: &'static [Errno],
    fault: [Fault; 7],
}

const fn row(errnos: &'static [Errno], fault: [Fault; 7]) -> Row {
    Row { errnos, fault }
}

use Fault::{
    BadArgument as Arg, BadFd as Fd, Busy, Kernel, NoMemory as Mem, NoSpace as Full,
    Storage as Disk, UnsupportedFile as Kind,
};

/// The columns: allocate, map, begin and end CPU access, touch the bytes of a buffer by CPU,
/// inspect an fd, read a file, write a file.
#[rustfmt::skip]
const TABLE: [Row; 14] = [
    row(&[Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::NOBUFS],
        [Mem,    Mem,    Mem,    Mem,    Mem,  Mem,  Mem]),
    // Of an allocation and of mmap(2): the limit of locked memory.
    row(&[Errno::AGAIN],
        [Mem,    Mem,    Busy,   Busy,   Busy, Busy, Busy]),
    row(&[Errno::NOSPC, Errno::DQUOT],
        [Mem,    Mem,    Kernel, Kernel, Disk, Disk, Full]),
    row(&[Errno::FBIG],
        [Mem,    Kernel, Kernel, Kernel, Kernel, Arg, Full]),
    row(&[Errno::OVERFLOW],
        [Kernel, Kernel, Kernel, Kernel, Kernel, Arg, Arg]),
    // Of MADV_POPULATE_WRITE: no page was left. Elsewhere the memory of the buffer is gone.
    row(&[Errno::FAULT],
        [Mem,    Kernel, Kernel, Kind,   Kernel, Kind, Kind]),
    row(&[Errno::BUSY, Errno::TXTBSY],
        [Mem,    Busy,   Busy,   Busy,   Busy, Busy, Busy]),
    // Of CPU access: a fence of the buffer has not signalled.
    row(&[Errno::TIMEDOUT, Errno::TIME],
        [Kernel, Kernel, Busy,   Kernel, Disk, Disk, Disk]),
    row(&[Errno::BADF],
        [Kernel, Fd,     Fd,     Kernel, Fd,   Fd,   Fd]),
    row(&[Errno::ACCESS, Errno::PERM, Errno::NOKEY],
        [Kernel, Fd,     Fd,     Kernel, Fd,   Fd,   Fd]),
    row(&[Errno::INVAL, Errno::NOTTY, Errno::OPNOTSUPP, Errno::NOSYS, Errno::XDEV, Errno::ISDIR,
          Errno::SPIPE, Errno::NOPKG],
        [Kernel, Kind,   Kind,   Kernel, Kind, Kind, Kind]),
    row(&[Errno::NODEV, Errno::NXIO],
        [Kernel, Kind,   Disk,   Kernel, Disk, Disk, Disk]),
    row(&[Errno::IO],
        [Kernel, Disk,   Disk,   Disk,   Disk, Disk, Disk]),
    // The engine repeats interrupted calls.
    row(&[Errno::INTR],
        [Kernel, Kernel, Kernel, Kernel, Kernel, Kernel, Kernel]),
];

/// Every other errno. File systems and network storage have errnos of their own (EUCLEAN, ESTALE,
/// EREMOTEIO, EROFS of a file system that failed while the file was open for writing).
const OTHERS: [Fault; 7] = [Kernel, Kernel, Kernel, Kernel, Disk, Disk, Disk];

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux has no errno above EHWPOISON.
    fn all_errnos() -> impl Iterator<Item = Errno> {
        (1..=133).map(Errno::from_raw_os_error)
    }

    fn errnos_with(operation: Operation, fault: Fault) -> Vec<Errno> {
        all_errnos().filter(|errno| operation.fault(*errno) == fault).collect()
    }

    #[test]
    fn each_errno_has_one_row() {
        for errno in all_errnos() {
            let rows = TABLE.iter().filter(|row| row.errnos.contains(&errno)).count();
            assert!(rows <= 1, "{errno:?} has {rows} rows");
        }
    }

    #[test]
    fn an_allocation_blames_memory_or_the_kernel() {
        for operation in [Operation::AllocateBuffer, Operation::AllocateBounceMemory] {
            let memory = errnos_with(operation, Fault::NoMemory);
            let kernel = errnos_with(operation, Fault::Kernel);
            assert_eq!(memory.len() + kernel.len(), 133, "{operation}");
            let lacks = [
                Errno::AGAIN,
                Errno::NOMEM,
                Errno::FAULT,
                Errno::BUSY,
                Errno::NFILE,
                Errno::MFILE,
                Errno::TXTBSY,
                Errno::FBIG,
                Errno::NOSPC,
                Errno::NOBUFS,
                Errno::DQUOT,
            ];
            assert_eq!(memory, lacks, "{operation}");
        }
    }

    #[test]
    fn only_a_write_can_lack_space() {
        for operation in Operation::ALL {
            let full = errnos_with(operation, Fault::NoSpace);
            if matches!(
                operation,
                Operation::WriteFile | Operation::WriteFileDirectly | Operation::CopyRangeToFile
            ) {
                assert_eq!(full, [Errno::FBIG, Errno::NOSPC, Errno::DQUOT], "{operation}");
            } else {
                assert_eq!(full, [], "{operation}");
            }
        }
    }

    #[test]
    fn storage_is_blamed_only_where_it_takes_part() {
        let blamed = |operation: Operation, errno| operation.fault(errno) == Fault::Storage;
        for errno in all_errnos() {
            for operation in [Operation::AllocateBuffer, Operation::AllocateBounceMemory] {
                assert!(!blamed(operation, errno), "{operation}: {errno:?}");
            }
            for operation in [Operation::MapBuffer, Operation::CopyIntoBuffer] {
                assert_eq!(blamed(operation, errno), errno == Errno::IO, "{operation}: {errno:?}");
            }
        }
        for errno in [Errno::IO, Errno::ROFS, Errno::STALE, Errno::UCLEAN, Errno::REMOTEIO] {
            for operation in [Operation::ReadFile, Operation::WriteFile, Operation::InspectFd] {
                assert!(blamed(operation, errno), "{operation}: {errno:?}");
            }
        }
    }

    #[test]
    fn a_sealed_or_locked_file_is_the_fault_of_the_fd() {
        let operations = [
            Operation::ReadFile,
            Operation::WriteFile,
            Operation::WriteFileDirectly,
            Operation::CopyRangeToFile,
            Operation::InspectFd,
            Operation::MapBuffer,
        ];
        for operation in operations {
            for errno in [Errno::PERM, Errno::ACCESS, Errno::NOKEY, Errno::BADF] {
                assert_eq!(operation.fault(errno), Fault::BadFd, "{operation}: {errno:?}");
            }
        }
    }

    #[test]
    fn no_client_is_blamed_for_an_interrupted_call() {
        for operation in Operation::ALL {
            assert_eq!(operation.fault(Errno::INTR), Fault::Kernel, "{operation}");
            assert_eq!(operation.fault(Errno::NOMEM), Fault::NoMemory, "{operation}");
        }
    }

    #[test]
    fn a_fence_that_does_not_signal_makes_the_buffer_busy() {
        for operation in [Operation::BeginCpuAccess, Operation::EndCpuAccess] {
            for errno in [Errno::BUSY, Errno::TIMEDOUT, Errno::TIME, Errno::AGAIN] {
                assert_eq!(operation.fault(errno), Fault::Busy, "{operation}: {errno:?}");
            }
        }
    }
}
