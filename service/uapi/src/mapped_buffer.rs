// SPDX-License-Identifier: Apache-2.0
//! A mapped range of a buffer together with the bracket of CPU access that touching it needs.

use std::ops::{Deref, Range};
use std::os::fd::BorrowedFd;

use rustix::io::Result;

use crate::dma_buf::{CpuAccess, CpuAccessGuard};
use crate::mapped_range::MappedRange;

/// A range of a buffer, mapped, whose CPU access lasts until it is finished or dropped. Its bytes
/// are those of the [`MappedRange`] that it dereferences to.
#[must_use = "the CPU access ends when this is dropped"]
pub struct MappedBuffer<'fd> {
    range: MappedRange<'static>,
    guard: Option<CpuAccessGuard<'fd>>,
}

impl<'fd> MappedBuffer<'fd> {
    /// Maps a range of a dma-buf and begins CPU access to the buffer.
    ///
    /// # Errors
    /// As for [`MappedRange::new`] and [`CpuAccessGuard::begin`].
    pub fn of_dma_buf(fd: BorrowedFd<'fd>, range: Range<u64>, access: CpuAccess) -> Result<Self> {
        let range = MappedRange::new(fd, range, access.into())?;
        Ok(Self { range, guard: Some(CpuAccessGuard::begin(fd, access)?) })
    }

    /// Maps a range of a memfd that stands in for a dma-buf. The CPU may touch it at any time.
    ///
    /// # Errors
    /// As for [`MappedRange::new`].
    pub fn of_memfd(fd: BorrowedFd<'fd>, range: Range<u64>, access: CpuAccess) -> Result<Self> {
        Ok(Self { range: MappedRange::new(fd, range, access.into())?, guard: None })
    }

    /// Ends the CPU access, with the exporter's verdict, which dropping would hide. The range stays
    /// mapped for as long as the caller keeps it.
    ///
    /// # Errors
    /// As for [`CpuAccessGuard::end`].
    pub fn finish(self) -> Result<MappedRange<'static>> {
        if let Some(guard) = self.guard {
            guard.end()?;
        }
        Ok(self.range)
    }
}

impl Deref for MappedBuffer<'_> {
    type Target = MappedRange<'static>;

    fn deref(&self) -> &Self::Target {
        &self.range
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::memfd::create_sealed;
    use rustix::io::Errno;

    #[test]
    fn a_memfd_needs_no_bracket() {
        let memfd = create_sealed(c"test", 8192).unwrap();
        let both = CpuAccess::READ | CpuAccess::WRITE;
        let written = MappedBuffer::of_memfd(memfd.as_fd(), 5000..5010, both).unwrap();
        written.write(0, b"by the CPU").unwrap();
        let kept = written.finish().unwrap();
        let seen = MappedBuffer::of_memfd(memfd.as_fd(), 0..8192, CpuAccess::READ).unwrap();
        for (mapped, offset) in [(&kept, 0), (&*seen, 5000)] {
            let mut bytes = [0; 10];
            mapped.read(offset, &mut bytes).unwrap();
            assert_eq!(&bytes, b"by the CPU");
        }
    }

    #[test]
    fn only_write_access_permits_writing() {
        let memfd = create_sealed(c"test", 4096).unwrap();
        let map = |access| MappedBuffer::of_memfd(memfd.as_fd(), 0..4096, access).unwrap();
        assert_eq!(map(CpuAccess::READ).write(0, &[1]), Err(Errno::ACCESS));
        map(CpuAccess::WRITE).write(0, &[1]).unwrap();
    }

    #[test]
    fn a_memfd_is_not_taken_for_a_dma_buf() {
        let memfd = create_sealed(c"test", 4096).unwrap();
        let mapped = MappedBuffer::of_dma_buf(memfd.as_fd(), 0..4096, CpuAccess::READ);
        assert_eq!(mapped.err(), Some(Errno::NOTTY));
    }
}
