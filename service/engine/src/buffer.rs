// SPDX-License-Identifier: Apache-2.0
//! Buffers: what a heap yields and what a path fills.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dmabuf_uapi::dma_buf::{CpuAccess, CpuAccessGuard};
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::{dma_buf, page_size_bytes, Errno};
use rustix::fs::{fcntl_get_seals, fcntl_getfl, fstat, OFlags, SealFlags};

use crate::error::{EngineError, Result};
use crate::heap::{Allocated, Backing, Kept};

/// A buffer that this engine allocated. Its bytes are loaded data or zero.
#[derive(Debug)]
pub struct Buffer {
    /// The dma-buf, or the memfd where [`Buffer::device_shareable`] is false.
    pub fd: OwnedFd,
    /// Size in bytes, whole pages.
    pub size_bytes: u64,
    /// The name of the heap it came from.
    pub heap: String,
    /// Whether it is a dma-buf.
    pub device_shareable: bool,
}

impl Buffer {
    /// The buffer as the paths see it.
    pub fn view(&self) -> BufferView<'_> {
        let kind = if self.device_shareable { BufferKind::DmaBuf } else { BufferKind::Memfd };
        BufferView::new(self.fd.as_fd(), self.size_bytes, kind)
    }
}

impl Allocated {
    /// The buffer as the paths see it, with the memory behind it.
    pub(crate) fn view(&self) -> BufferView<'_> {
        let kept = self.kept.as_ref().filter(|kept| kept.stays_mapped());
        BufferView { backing: self.backing.as_ref(), kept, ..self.buffer.view() }
    }
}

/// What kind of memory a buffer fd stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// A dma-buf of any exporter.
    DmaBuf,
    /// A memfd that cannot shrink.
    Memfd,
}

/// A borrowed buffer, of this engine or of a client.
#[derive(Clone, Copy, Debug)]
pub struct BufferView<'fd> {
    /// The buffer.
    pub fd: BorrowedFd<'fd>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// What it is.
    pub kind: BufferKind,
    /// The memfd behind it, where the engine has just made it.
    pub(crate) backing: Option<&'fd Backing>,
    /// Who has a mapping of it that stays.
    pub(crate) kept: Option<&'fd Kept>,
}

/// What a request does with a client's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferUse {
    /// A load writes to it.
    Fill,
    /// A save reads from it.
    Drain,
}

impl<'fd> BufferView<'fd> {
    /// A buffer that is known to be one.
    pub fn new(fd: BorrowedFd<'fd>, size_bytes: u64, kind: BufferKind) -> Self {
        Self { fd, size_bytes, kind, backing: None, kept: None }
    }

    /// Checks a client's fd: it must be a dma-buf, or a memfd sealed against shrinking where `allow_memfd` says so. Its mode
    /// is another question.
    ///
    /// # Errors
    /// [`EngineError::UnsupportedFile`] or [`EngineError::BadFd`], naming `argument`.
    pub fn of_client(fd: BorrowedFd<'fd>, argument: &str, allow_memfd: bool) -> Result<Self> {
        let no_size = |errno| EngineError::io(format!("{argument}: size of the buffer"), errno);
        if let Some(size_bytes) = dma_buf::size_if_dma_buf(fd).map_err(no_size)? {
            return Ok(Self::new(fd, size_bytes, BufferKind::DmaBuf));
        }
        if allow_memfd && fcntl_get_seals(fd).is_ok_and(|s| s.contains(SealFlags::SHRINK)) {
            // A memfd's file position belongs to the client, so seeking is no way to ask.
            let size_bytes = fstat(fd).map_err(no_size)?.st_size as u64;
            return Ok(Self::new(fd, size_bytes, BufferKind::Memfd));
        }
        buffer_flags(fd, argument)?;
        Err(EngineError::UnsupportedFile {
            argument: argument.to_owned(),
            found: crate::file::describe_kind(fd),
            expected: "a dma-buf",
        })
    }

    /// Sets a range of the buffer to zero, in bytes.
    pub(crate) fn clear(&self, offset_bytes: u64, len_bytes: u64) -> Result<()> {
        if len_bytes == 0 {
            return Ok(());
        }
        let window = self.map(offset_bytes, len_bytes, CpuAccess::WRITE)?;
        window
            .fill_zero(0, len_bytes)
            .map_err(|errno| EngineError::io("clear the buffer", errno))?;
        window.finish()
    }

    /// Maps the pages that hold a range of the buffer and opens a bracket of CPU access. The range is in bytes.
    ///
    /// Only those pages are mapped: a system-heap mapping fills its page tables at once.
    pub(crate) fn map(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        access: CpuAccess,
    ) -> Result<MappedWindow<'fd>> {
        let page_bytes = page_size_bytes() as u64;
        let first_byte = offset_bytes - offset_bytes % page_bytes;
        let mapped_bytes = usize::try_from(offset_bytes - first_byte + len_bytes)
            .map_err(|_| EngineError::io("map the buffer", Errno::NOMEM))?;
        let mapping_access = if access.contains(CpuAccess::WRITE) {
            MappingAccess::ReadWrite
        } else {
            MappingAccess::Read
        };
        let not_mapped = |errno| EngineError::io("map the buffer", errno);
        let (memory, start) = match (self.backing, self.kept) {
            // The same pages, mapped already, and in huge ones as far as they are huge.
            (Some(backing), _) => (Memory::Standing(backing.mapping()), offset_bytes as usize),
            (None, Some(kept)) => {
                let mapping = kept.mapping(self.size_bytes).map_err(not_mapped)?;
                (Memory::Standing(mapping), offset_bytes as usize)
            }
            (None, None) => {
                let mapping = Mapping::shared_at(self.fd, first_byte, mapped_bytes, mapping_access)
                    .map_err(not_mapped)?;
                (Memory::Own(mapping), (offset_bytes - first_byte) as usize)
            }
        };
        let guard = match self.kind {
            BufferKind::DmaBuf => Some(
                CpuAccessGuard::begin(self.fd, access)
                    .map_err(|errno| EngineError::io("begin CPU access to the buffer", errno))?,
            ),
            BufferKind::Memfd => None,
        };
        Ok(MappedWindow { memory, start, guard })
    }
}

/// Checks that a client's buffer is open in a mode that permits the use. The kernel enforces the same, less clearly.
///
/// # Errors
/// [`EngineError::BadFd`], naming `argument`.
pub(crate) fn check_client_mode(
    fd: BorrowedFd<'_>,
    argument: &str,
    usage: BufferUse,
) -> Result<()> {
    let mode = buffer_flags(fd, argument)? & OFlags::RWMODE;
    match usage {
        BufferUse::Fill if mode != OFlags::RDWR => Err(EngineError::bad_fd(
            argument,
            "is not open for reading and writing, as filling a buffer needs",
        )),
        BufferUse::Drain if mode == OFlags::WRONLY => {
            Err(EngineError::bad_fd(argument, "is not open for reading"))
        }
        _ => Ok(()),
    }
}

fn buffer_flags(fd: BorrowedFd<'_>, argument: &str) -> Result<OFlags> {
    let flags = fcntl_getfl(fd)
        .map_err(|errno| EngineError::bad_fd(argument, crate::error::errno_text(errno)))?;
    if flags.contains(OFlags::PATH) {
        return Err(EngineError::bad_fd(argument, "is an O_PATH fd, expected an open buffer"));
    }
    Ok(flags)
}

/// A mapped range of a buffer with its bracket of CPU access. Offsets count from the start of the range, in bytes.
pub(crate) struct MappedWindow<'fd> {
    memory: Memory<'fd>,
    start: usize,
    guard: Option<CpuAccessGuard<'fd>>,
}

/// What a window looks at.
enum Memory<'fd> {
    /// A mapping of the buffer, for this window only.
    Own(Mapping),
    /// A mapping that stays, of the buffer or of the memfd behind it.
    Standing(&'fd Mapping),
}

impl MappedWindow<'_> {
    fn mapping(&self) -> &Mapping {
        match &self.memory {
            Memory::Own(mapping) => mapping,
            Memory::Standing(mapping) => mapping,
        }
    }

    fn range(&self, offset_bytes: u64, len_bytes: u64) -> std::ops::Range<usize> {
        let start = self.start + offset_bytes as usize;
        start..start + len_bytes as usize
    }

    pub(crate) fn pread(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: BorrowedFd<'_>,
        file_offset_bytes: u64,
    ) -> dmabuf_uapi::Result<u64> {
        let range = self.range(offset_bytes, len_bytes);
        self.mapping().pread(range, file, file_offset_bytes).map(|count| count as u64)
    }

    pub(crate) fn pwrite(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: BorrowedFd<'_>,
        file_offset_bytes: u64,
    ) -> dmabuf_uapi::Result<u64> {
        let range = self.range(offset_bytes, len_bytes);
        self.mapping().pwrite(range, file, file_offset_bytes).map(|count| count as u64)
    }

    pub(crate) fn read(&self, offset_bytes: u64, target: &mut [u8]) -> dmabuf_uapi::Result<()> {
        self.mapping().read(self.range(offset_bytes, 0).start, target)
    }

    pub(crate) fn copy_in(
        &self,
        offset_bytes: u64,
        source: &Mapping,
        source_offset_bytes: usize,
        len_bytes: u64,
    ) -> dmabuf_uapi::Result<()> {
        let range = self.range(offset_bytes, len_bytes);
        self.mapping().copy_from(range.start, source, source_offset_bytes, range.len())
    }

    pub(crate) fn copy_out(
        &self,
        offset_bytes: u64,
        target: &Mapping,
        target_offset_bytes: usize,
        len_bytes: u64,
    ) -> dmabuf_uapi::Result<()> {
        let range = self.range(offset_bytes, len_bytes);
        target.copy_from(target_offset_bytes, self.mapping(), range.start, range.len())
    }

    pub(crate) fn fill_zero(&self, offset_bytes: u64, len_bytes: u64) -> dmabuf_uapi::Result<()> {
        self.mapping().fill_zero(self.range(offset_bytes, len_bytes))
    }

    /// Ends the CPU access, with the exporter's verdict, and unmaps.
    pub(crate) fn finish(self) -> Result<()> {
        match self.guard {
            Some(guard) => {
                guard.end().map_err(|errno| EngineError::io("end CPU access to the buffer", errno))
            }
            None => Ok(()),
        }
    }
}
