// SPDX-License-Identifier: Apache-2.0
//! The CPU's access to a buffer: one bracket for a whole request, and windows into it.
//!
//! Between `DMA_BUF_SYNC_START` and `DMA_BUF_SYNC_END` the exporter keeps the CPU's caches and the
//! devices coherent. Nested brackets would discard dirty cache lines on machines whose devices are
//! not coherent, so that a request has one, begun when the CPU first touches the buffer and ended
//! with the request.

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use dmabuf_uapi::dma_buf::{CpuAccess, CpuAccessGuard};
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::{page_size_bytes, Errno};

use super::view::{BufferKind, BufferView};
use crate::error::{EngineError, Result};

/// A buffer and the bracket of CPU access that a request has on it.
pub(crate) struct CpuView<'a> {
    view: BufferView<'a>,
    access: CpuAccess,
    bracket: Mutex<Option<CpuAccessGuard<'a>>>,
}

impl<'a> CpuView<'a> {
    /// A buffer that the CPU may touch in this way; it does not yet.
    pub(crate) fn new(view: BufferView<'a>, access: CpuAccess) -> Self {
        Self { view, access, bracket: Mutex::new(None) }
    }

    /// The buffer itself.
    pub(crate) fn buffer(&self) -> &BufferView<'a> {
        &self.view
    }

    /// Begins the bracket if it has not begun. What the CPU does to the buffer, also by a copy in
    /// the kernel, comes after it.
    ///
    /// # Errors
    /// [`EngineError::Io`] where the exporter refuses.
    pub(crate) fn begin(&self) -> Result<()> {
        if self.view.kind == BufferKind::Memfd {
            return Ok(());
        }
        let mut bracket = self.bracket.lock().unwrap_or_else(PoisonError::into_inner);
        if bracket.is_none() {
            let begun = CpuAccessGuard::begin(self.view.fd, self.access)
                .map_err(|errno| EngineError::io("begin CPU access to the buffer", errno))?;
            *bracket = Some(begun);
        }
        Ok(())
    }

    /// Ends the bracket, with the exporter's verdict.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub(crate) fn end(self) -> Result<()> {
        match self.bracket.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(bracket) => bracket
                .end()
                .map_err(|errno| EngineError::io("end CPU access to the buffer", errno)),
            None => Ok(()),
        }
    }

    /// A view of a range, in bytes, for the CPU.
    ///
    /// Where the buffer is not mapped yet, only the pages of the range are: a mapping of a
    /// system-heap buffer fills its page tables at once.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub(crate) fn window(&self, offset_bytes: u64, len_bytes: u64) -> Result<Window<'a>> {
        self.begin()?;
        let not_mapped = |errno| EngineError::io("map the buffer", errno);
        let page_bytes = page_size_bytes() as u64;
        let offset = usize::try_from(offset_bytes).map_err(|_| not_mapped(Errno::OVERFLOW))?;
        let (memory, start) = match (self.view.backing, self.view.retained) {
            // The same pages, mapped already, and in huge ones as far as they are huge.
            (Some(backing), _) => (Memory::Standing(backing.mapping()), offset),
            (None, Some(retained)) => {
                let mapping = retained.mapping(self.view.size_bytes).map_err(not_mapped)?;
                (Memory::Standing(mapping), offset)
            }
            (None, None) => {
                let in_page = offset_bytes % page_bytes;
                let mapped_bytes = in_page
                    .checked_add(len_bytes)
                    .and_then(|bytes| usize::try_from(bytes).ok())
                    .ok_or_else(|| not_mapped(Errno::NOMEM))?;
                let first_byte = offset_bytes - in_page;
                let access = self.mapping_access();
                let mapping = Mapping::shared_at(self.view.fd, first_byte, mapped_bytes, access)
                    .map_err(not_mapped)?;
                (Memory::Own(mapping), in_page as usize)
            }
        };
        Ok(Window { memory, start })
    }

    fn mapping_access(&self) -> MappingAccess {
        if self.access.contains(CpuAccess::WRITE) {
            MappingAccess::ReadWrite
        } else {
            MappingAccess::Read
        }
    }

    /// Sets a range of the buffer to zero, in bytes.
    ///
    /// # Errors
    /// [`EngineError::Io`].
    pub(crate) fn zero(&self, offset_bytes: u64, len_bytes: u64) -> Result<()> {
        if len_bytes == 0 {
            return Ok(());
        }
        self.window(offset_bytes, len_bytes)?
            .zero(0, len_bytes)
            .map_err(|errno| EngineError::io("zero the buffer", errno))
    }
}

/// A mapped range of a buffer. Offsets count from the start of the range, in bytes. It must not
/// outlive the bracket of the [`CpuView`] it came from.
pub(crate) struct Window<'a> {
    memory: Memory<'a>,
    start: usize,
}

/// What a window looks at.
enum Memory<'a> {
    /// A mapping of the buffer, for this window only.
    Own(Mapping),
    /// A mapping that stays, of the buffer or of the memfd behind it.
    Standing(&'a Mapping),
}

impl Window<'_> {
    fn mapping(&self) -> &Mapping {
        match &self.memory {
            Memory::Own(mapping) => mapping,
            Memory::Standing(mapping) => mapping,
        }
    }

    fn range(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> dmabuf_uapi::Result<std::ops::Range<usize>> {
        let in_memory = |bytes: u64| usize::try_from(bytes).map_err(|_| Errno::OVERFLOW);
        let start = self.start.checked_add(in_memory(offset_bytes)?).ok_or(Errno::OVERFLOW)?;
        let end = start.checked_add(in_memory(len_bytes)?).ok_or(Errno::OVERFLOW)?;
        Ok(start..end)
    }

    /// `pread(2)` of a file into the range; returns the bytes read, 0 at the end of the file.
    pub(crate) fn pread(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: BorrowedFd<'_>,
        file_offset_bytes: u64,
    ) -> dmabuf_uapi::Result<u64> {
        let range = self.range(offset_bytes, len_bytes)?;
        self.mapping().pread(range, file, file_offset_bytes).map(|count| count as u64)
    }

    /// `pwrite(2)` of the range to a file; returns the bytes written.
    pub(crate) fn pwrite(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: BorrowedFd<'_>,
        file_offset_bytes: u64,
    ) -> dmabuf_uapi::Result<u64> {
        let range = self.range(offset_bytes, len_bytes)?;
        self.mapping().pwrite(range, file, file_offset_bytes).map(|count| count as u64)
    }

    /// Copies bytes out of the range.
    pub(crate) fn read(&self, offset_bytes: u64, target: &mut [u8]) -> dmabuf_uapi::Result<()> {
        self.mapping().read(self.range(offset_bytes, 0)?.start, target)
    }

    /// Copies bytes of other memory into the range.
    pub(crate) fn copy_in(
        &self,
        offset_bytes: u64,
        source: &Mapping,
        source_offset_bytes: usize,
        len_bytes: u64,
    ) -> dmabuf_uapi::Result<()> {
        let range = self.range(offset_bytes, len_bytes)?;
        self.mapping().copy_from(range.start, source, source_offset_bytes, range.len())
    }

    /// Copies bytes of the range to other memory.
    pub(crate) fn copy_out(
        &self,
        offset_bytes: u64,
        target: &Mapping,
        target_offset_bytes: usize,
        len_bytes: u64,
    ) -> dmabuf_uapi::Result<()> {
        let range = self.range(offset_bytes, len_bytes)?;
        target.copy_from(target_offset_bytes, self.mapping(), range.start, range.len())
    }

    /// Sets bytes of the range to zero.
    pub(crate) fn zero(&self, offset_bytes: u64, len_bytes: u64) -> dmabuf_uapi::Result<()> {
        self.mapping().fill_zero(self.range(offset_bytes, len_bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_window_shows_its_range_of_the_buffer() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"window", 3 * 4096).unwrap();
        rustix::io::pwrite(&memfd, &[7; 3 * 4096], 0).unwrap();
        let view = BufferView::new(memfd.as_fd(), 3 * 4096, BufferKind::Memfd);
        let access = CpuAccess::READ | CpuAccess::WRITE;
        let cpu = CpuView::new(view, access);
        cpu.zero(4090, 10).unwrap();
        let mut bytes = [1; 12];
        cpu.window(4089, 12).unwrap().read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(cpu.end(), Ok(()));
    }

    #[test]
    fn windows_into_a_dma_buf_need_its_bracket() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let view = BufferView::new(file.as_fd(), 4096, BufferKind::DmaBuf);
        let cpu = CpuView::new(view, CpuAccess::READ);
        let error = cpu.window(0, 1).map(|_| ()).unwrap_err();
        assert_eq!(error, EngineError::io("begin CPU access to the buffer", Errno::NOTTY));
        assert_eq!(cpu.end(), Ok(()), "what has not begun need not end");
    }
}
