// SPDX-License-Identifier: Apache-2.0
//! A mapped range of a file: offsets count from its first byte, wherever in a page that lies.
//!
//! It opens no bracket of CPU access. [`crate::mapped_buffer`] does; whoever holds a bracket of
//! their own around several ranges of a dma-buf uses this module alone.

use std::ops::Range;
use std::os::fd::AsFd;

use rustix::io::{Errno, Result};

use crate::mapping::{Append, Mapping, MappingAccess};
use crate::page_size_bytes;

/// A range of bytes that is mapped into this process.
#[derive(Debug)]
pub struct MappedRange<'m> {
    memory: Memory<'m>,
    /// Where in the memory the range begins.
    start: usize,
    len_bytes: u64,
}

#[derive(Debug)]
enum Memory<'m> {
    /// Mapped for this range.
    Own(Mapping),
    /// Mapped before and after.
    Borrowed(&'m Mapping),
}

impl MappedRange<'static> {
    /// Maps the pages that hold a range of a dma-buf or memfd, shared, and no others: a mapping of
    /// a system-heap buffer fills its page tables at once.
    ///
    /// # Errors
    /// As for [`Mapping::shared_at`]: `INVAL` also where the range ends before it begins.
    pub fn new(fd: impl AsFd, range: Range<u64>, access: MappingAccess) -> Result<Self> {
        Self::map(fd, range, access, |mapping| mapping)
    }

    /// As [`MappedRange::new`], of a buffer whose owner can take its pages away: see
    /// [`Mapping::may_lose_pages`].
    ///
    /// # Errors
    /// As for [`MappedRange::new`].
    pub fn of_others(fd: impl AsFd, range: Range<u64>, access: MappingAccess) -> Result<Self> {
        Self::map(fd, range, access, Mapping::may_lose_pages)
    }

    fn map(
        fd: impl AsFd,
        range: Range<u64>,
        access: MappingAccess,
        as_kind: impl FnOnce(Mapping) -> Mapping,
    ) -> Result<Self> {
        let len_bytes = len_of(&range)?;
        let start = range.start % page_size_bytes() as u64;
        let mapped_bytes = usize::try_from(start + len_bytes).map_err(|_| Errno::NOMEM)?;
        let mapping = Mapping::shared_at(fd, range.start - start, mapped_bytes, access)?;
        Ok(Self { memory: Memory::Own(as_kind(mapping)), start: start as usize, len_bytes })
    }
}

impl<'m> MappedRange<'m> {
    /// A range of a file that is mapped from its first byte on.
    ///
    /// # Errors
    /// - `INVAL`: the range ends before it begins.
    /// - `FAULT`: it is not inside the mapping.
    pub fn within(mapping: &'m Mapping, range: Range<u64>) -> Result<Self> {
        let len_bytes = len_of(&range)?;
        if range.end > mapping.len_bytes() as u64 {
            return Err(Errno::FAULT);
        }
        Ok(Self { memory: Memory::Borrowed(mapping), start: range.start as usize, len_bytes })
    }

    /// The length of the range in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn mapping(&self) -> &Mapping {
        match &self.memory {
            Memory::Own(mapping) => mapping,
            Memory::Borrowed(mapping) => mapping,
        }
    }

    /// Where in the mapping bytes of the range lie; `FAULT` where they are not all inside it.
    fn locate(&self, offset_bytes: u64, len_bytes: u64) -> Result<Range<usize>> {
        let end = offset_bytes.checked_add(len_bytes).filter(|end| *end <= self.len_bytes);
        let end = end.ok_or(Errno::FAULT)?;
        Ok(self.start + offset_bytes as usize..self.start + end as usize)
    }

    /// Copies bytes out of the range.
    ///
    /// # Errors
    /// `FAULT` where they are not inside it.
    pub fn read(&self, offset_bytes: u64, target: &mut [u8]) -> Result<()> {
        let range = self.locate(offset_bytes, target.len() as u64)?;
        self.mapping().read(range.start, target)
    }

    /// Copies bytes into the range.
    ///
    /// # Errors
    /// `FAULT` where they are not inside it, `ACCESS` where it is mapped for reading.
    pub fn write(&self, offset_bytes: u64, source: &[u8]) -> Result<()> {
        let range = self.locate(offset_bytes, source.len() as u64)?;
        self.mapping().write(range.start, source)
    }

    /// Sets bytes of the range to zero.
    ///
    /// # Errors
    /// As for [`MappedRange::write`].
    pub fn fill_zero(&self, offset_bytes: u64, len_bytes: u64) -> Result<()> {
        self.mapping().fill_zero(self.locate(offset_bytes, len_bytes)?)
    }

    /// Copies bytes of another mapping into the range.
    ///
    /// # Errors
    /// As for [`MappedRange::write`], and `FAULT` where the bytes are not inside `source`.
    pub fn copy_from(
        &self,
        offset_bytes: u64,
        source: &Mapping,
        source_offset_bytes: usize,
        len_bytes: u64,
    ) -> Result<()> {
        let range = self.locate(offset_bytes, len_bytes)?;
        self.mapping().copy_from(range.start, source, source_offset_bytes, range.len())
    }

    /// Copies bytes of the range into another mapping.
    ///
    /// # Errors
    /// As for [`MappedRange::read`] and [`Mapping::copy_from`].
    pub fn copy_to(
        &self,
        offset_bytes: u64,
        target: &Mapping,
        target_offset_bytes: usize,
        len_bytes: u64,
    ) -> Result<()> {
        let range = self.locate(offset_bytes, len_bytes)?;
        target.copy_from(target_offset_bytes, self.mapping(), range.start, range.len())
    }

    /// Lets the kernel read from `file` into the range; returns the bytes read, 0 at the end of the
    /// file.
    ///
    /// # Errors
    /// Those of [`Mapping::pread`].
    pub fn pread(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: impl AsFd,
        file_offset_bytes: u64,
    ) -> Result<u64> {
        let range = self.locate(offset_bytes, len_bytes)?;
        self.mapping().pread(range, file, file_offset_bytes).map(|count| count as u64)
    }

    /// As [`MappedRange::pread`], but only what is in the page cache.
    ///
    /// # Errors
    /// Those of [`Mapping::pread_cached`].
    pub fn pread_cached(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: impl AsFd,
        file_offset_bytes: u64,
    ) -> Result<u64> {
        let range = self.locate(offset_bytes, len_bytes)?;
        self.mapping().pread_cached(range, file, file_offset_bytes).map(|count| count as u64)
    }

    /// Lets the kernel write bytes of the range to `file`; returns the bytes written.
    ///
    /// # Errors
    /// Those of [`Mapping::pwrite`].
    pub fn pwrite(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: impl AsFd,
        file_offset_bytes: u64,
    ) -> Result<u64> {
        self.pwrite_as(offset_bytes, len_bytes, file, file_offset_bytes, Append::AsOpened)
    }

    /// As [`MappedRange::pwrite`], and says what `O_APPEND` of the file means.
    ///
    /// # Errors
    /// Those of [`Mapping::pwrite_as`].
    pub fn pwrite_as(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        file: impl AsFd,
        file_offset_bytes: u64,
        append: Append,
    ) -> Result<u64> {
        let range = self.locate(offset_bytes, len_bytes)?;
        let written = self.mapping().pwrite_as(range, file, file_offset_bytes, append);
        written.map(|count| count as u64)
    }
}

fn len_of(range: &Range<u64>) -> Result<u64> {
    range.end.checked_sub(range.start).ok_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::fs::{ftruncate, memfd_create, MemfdFlags};

    use super::*;
    use crate::memfd::create_sealed;

    fn pages(count: usize) -> (OwnedFd, u64) {
        let size_bytes = (count * page_size_bytes()) as u64;
        (create_sealed(c"test", size_bytes).unwrap(), size_bytes)
    }

    fn content(memfd: &OwnedFd, range: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0xaa; (range.end - range.start) as usize];
        rustix::io::pread(memfd, bytes.as_mut_slice(), range.start).unwrap();
        bytes
    }

    #[test]
    fn offsets_count_from_the_start_of_the_range() {
        let (memfd, size_bytes) = pages(3);
        let second_page = size_bytes / 3;
        for start in [0, 1, second_page - 1, second_page, second_page + 7] {
            let range = start..start + second_page;
            let mapped = MappedRange::new(&memfd, range, MappingAccess::ReadWrite).unwrap();
            assert_eq!(mapped.len_bytes(), second_page);
            mapped.write(2, b"three").unwrap();
            assert_eq!(content(&memfd, start + 2..start + 7), b"three");
            let mut seen = [0; 4];
            mapped.read(3, &mut seen).unwrap();
            assert_eq!(&seen, b"hree");
            mapped.fill_zero(0, second_page).unwrap();
            assert_eq!(content(&memfd, 0..size_bytes), vec![0; size_bytes as usize]);
        }
    }

    /// The mapping ends with a page, the range does not.
    #[test]
    fn bytes_outside_the_range_are_refused() {
        let (memfd, size_bytes) = pages(1);
        let mapped = MappedRange::new(&memfd, 10..20, MappingAccess::ReadWrite).unwrap();
        let memory = Mapping::anonymous(4096).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        for offset in [1, 10, 11, u64::MAX] {
            assert_eq!(mapped.read(offset, &mut [0; 10]), Err(Errno::FAULT), "{offset}");
            assert_eq!(mapped.write(offset, &[1; 10]), Err(Errno::FAULT), "{offset}");
            assert_eq!(mapped.fill_zero(offset, 10), Err(Errno::FAULT), "{offset}");
            assert_eq!(mapped.copy_from(offset, &memory, 0, 10), Err(Errno::FAULT), "{offset}");
            assert_eq!(mapped.copy_to(offset, &memory, 0, 10), Err(Errno::FAULT), "{offset}");
            assert_eq!(mapped.pread(offset, 10, &null, 0), Err(Errno::FAULT), "{offset}");
            assert_eq!(mapped.pwrite(offset, 10, &null, 0), Err(Errno::FAULT), "{offset}");
        }
        assert_eq!(mapped.copy_from(0, &memory, 4090, 10), Err(Errno::FAULT));
        assert_eq!(mapped.copy_to(0, &memory, 4090, 10), Err(Errno::FAULT));
        mapped.write(10, &[]).unwrap();
        assert_eq!(content(&memfd, 0..size_bytes), vec![0; size_bytes as usize]);
    }

    #[test]
    fn ranges_that_cannot_be_mapped_are_refused() {
        let (memfd, _) = pages(1);
        let map = |range| MappedRange::new(&memfd, range, MappingAccess::Read).map(drop);
        assert_eq!(map(0..0), Err(Errno::INVAL));
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 5..4;
        assert_eq!(map(reversed.clone()), Err(Errno::INVAL));
        assert!(map(0..u64::MAX).is_err());
        let mapping = Mapping::shared(&memfd, 100, MappingAccess::Read).unwrap();
        assert_eq!(MappedRange::within(&mapping, reversed).err(), Some(Errno::INVAL));
        assert_eq!(MappedRange::within(&mapping, 99..101).err(), Some(Errno::FAULT));
    }

    #[test]
    fn a_range_for_reading_cannot_be_written() {
        let (memfd, _) = pages(1);
        let mapped = MappedRange::new(&memfd, 0..10, MappingAccess::Read).unwrap();
        assert_eq!(mapped.write(0, &[1]), Err(Errno::ACCESS));
        assert_eq!(mapped.fill_zero(0, 1), Err(Errno::ACCESS));
    }

    #[test]
    fn a_range_within_a_mapping_shows_its_bytes() {
        let mapping = Mapping::anonymous(4096).unwrap();
        let range = MappedRange::within(&mapping, 100..110).unwrap();
        range.write(1, b"inside").unwrap();
        let mut seen = [0; 6];
        mapping.read(101, &mut seen).unwrap();
        assert_eq!(&seen, b"inside");
        assert_eq!(range.write(5, b"inside"), Err(Errno::FAULT));
    }

    /// The owner of a file cuts it while it is mapped. A copy by the CPU would end this process.
    #[test]
    fn a_page_that_is_gone_fails_the_copy_alone() {
        let file = memfd_create(c"cut", MemfdFlags::CLOEXEC).unwrap();
        let page = page_size_bytes() as u64;
        ftruncate(&file, 3 * page).unwrap();
        let mapped = MappedRange::of_others(&file, 1..3 * page, MappingAccess::ReadWrite).unwrap();
        let memories = [
            Mapping::anonymous(2 * page as usize).unwrap(),
            Mapping::own_memfd(2 * page as usize).unwrap(),
        ];
        let mut bytes = vec![0; 2 * page as usize];
        mapped.write(page - 11, b"over the end of a page").unwrap();
        mapped.read(page - 11, &mut bytes[..22]).unwrap();
        assert_eq!(&bytes[..22], b"over the end of a page");
        ftruncate(&file, page).unwrap();
        for memory in &memories {
            mapped.write(2, b"there").unwrap();
            mapped.copy_to(2, memory, 1, 5).unwrap();
            mapped.copy_from(7, memory, 1, 5).unwrap();
            mapped.fill_zero(9, 2).unwrap();
            mapped.read(2, &mut bytes[..10]).unwrap();
            assert_eq!(&bytes[..10], b"thereth\0\0e");
        }
        for offset in [5, page] {
            assert_eq!(mapped.read(offset, &mut bytes[..page as usize]), Err(Errno::FAULT));
            assert_eq!(mapped.write(offset, &bytes[..page as usize]), Err(Errno::FAULT));
            assert_eq!(mapped.fill_zero(offset, page), Err(Errno::FAULT));
            for memory in &memories {
                assert_eq!(mapped.copy_from(offset, memory, 0, page), Err(Errno::FAULT));
                assert_eq!(mapped.copy_to(offset, memory, 0, page), Err(Errno::FAULT));
            }
        }
    }

    #[test]
    fn long_ranges_of_others_are_zeroed_whole() {
        let (memfd, size_bytes) = pages(200);
        rustix::io::pwrite(&memfd, &vec![7; size_bytes as usize], 0).unwrap();
        let range = 1..size_bytes - 1;
        let mapped = MappedRange::of_others(&memfd, range, MappingAccess::ReadWrite).unwrap();
        mapped.fill_zero(0, size_bytes - 2).unwrap();
        let mut expected = vec![0; size_bytes as usize];
        (expected[0], expected[size_bytes as usize - 1]) = (7, 7);
        assert_eq!(content(&memfd, 0..size_bytes), expected);
        assert_eq!(mapped.fill_zero(1, size_bytes - 2), Err(Errno::FAULT), "outside the range");
    }

    #[test]
    fn bytes_move_between_ranges_files_and_mappings() {
        let (memfd, _) = pages(1);
        let mapped = MappedRange::new(&memfd, 1000..1010, MappingAccess::ReadWrite).unwrap();
        let (file, _) = pages(1);
        rustix::io::pwrite(&file, b"0123456789", 50).unwrap();
        assert_eq!(mapped.pread(2, 6, &file, 52), Ok(6));
        assert_eq!(content(&memfd, 1000..1010), b"\0\x00234567\0\0");
        assert_eq!(mapped.pwrite(3, 2, &file, 200), Ok(2));
        assert_eq!(content(&file, 199..203), b"\x0034\0");
        let memory = Mapping::anonymous(4096).unwrap();
        mapped.copy_to(2, &memory, 9, 3).unwrap();
        mapped.copy_from(7, &memory, 9, 3).unwrap();
        assert_eq!(content(&memfd, 1000..1010), b"\0\x0023456234");
    }
}
