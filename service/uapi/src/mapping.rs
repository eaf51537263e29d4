// SPDX-License-Identifier: Apache-2.0
//! Memory mappings that never become Rust references.
//!
//! The bytes of a shared mapping can change at any time, by another process or a device. Access
//! goes through calls that copy, or that let the kernel fill or drain the memory, so no `&[u8]` to
//! such bytes ever exists.
//!
//! Pages of a file that another process controls can also go away. [`Mapping::may_lose_pages`] is
//! for these.
//!
//! Source: `mmap(2)`, `pread(2)`, `pwrite(2)`, `preadv2(2)`, `pwritev2(2)`.

use std::ffi::c_void;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;

use rustix::io::{retry_on_intr, Errno, Result};
use rustix::mm::{madvise, mmap, mmap_anonymous, munmap, Advice, MapFlags, ProtFlags};

use crate::dma_buf::CpuAccess;
use crate::{kernel_copy, last_errno, memfd, page_size_bytes};

/// The size of the huge pages asked for here, in bytes. Both x86-64 and arm64 with 4 KiB pages have
/// huge pages of this size.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// How much zeroed memory serves to zero a mapping that may lose pages.
const MAX_ZEROS_BYTES: usize = 256 << 10;

/// How much is populated by one call: whole huge pages.
const POPULATE_BYTES: usize = 2 * HUGE_PAGE_BYTES;

/// Not in libc yet; the number is the same on every architecture but parisc.
const MADV_COLLAPSE: libc::c_int = 25;

const RWF_NOWAIT: libc::c_int = 0x08;

/// Not in every libc yet.
const RWF_NOAPPEND: libc::c_int = 0x20;

/// What `O_APPEND` of a file, which its owner may set at any time, means to a write at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// The write goes to the end of a file that has it.
    AsOpened,
    /// Nothing: `RWF_NOAPPEND` of `pwritev2(2)`, Linux 6.9.
    Ignored,
}

/// What a mapping may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingAccess {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// What a mapping needs for this access by the CPU.
impl From<CpuAccess> for MappingAccess {
    fn from(access: CpuAccess) -> Self {
        if access.contains(CpuAccess::WRITE) {
            Self::ReadWrite
        } else {
            Self::Read
        }
    }
}

/// Mapped memory of this process, unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<c_void>,
    len_bytes: usize,
    access: MappingAccess,
    /// Touching a page may raise SIGBUS, so that the kernel makes the copies.
    may_lose_pages: bool,
    /// The memfd that this maps from its first byte on, where it belongs to nobody else.
    own_memfd: Option<OwnedFd>,
}

// SAFETY: the memory belongs to the process, not to a thread, and every access goes through raw
// copies or the kernel.
unsafe impl Send for Mapping {}
// SAFETY: no method hands out a reference into the memory; concurrent accesses race only on bytes,
// which the callers of shared memory must expect, and never on Rust values.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len_bytes` of a dma-buf or memfd, shared. As [`Mapping::shared_at`] with
    /// offset 0.
    ///
    /// # Errors
    /// As for [`Mapping::shared_at`].
    pub fn shared(fd: impl AsFd, len_bytes: usize, access: MappingAccess) -> Result<Self> {
        Self::shared_at(fd, 0, len_bytes, access)
    }

    /// Maps `len_bytes` of a dma-buf or memfd from an offset that is a multiple of the page size,
    /// shared.
    ///
    /// For a dma-buf, bracket every access by [`crate::dma_buf::CpuAccessGuard`].
    ///
    /// # Errors
    /// - `INVAL`: `len_bytes` is 0, the offset is not a multiple of the page size, or the range is
    ///   longer than the buffer.
    /// - `ACCESS`: the fd's access mode does not permit `access`.
    /// - `NOMEM`: no address space.
    pub fn shared_at(
        fd: impl AsFd,
        offset_bytes: u64,
        len_bytes: usize,
        access: MappingAccess,
    ) -> Result<Self> {
        let protection = match access {
            MappingAccess::Read => ProtFlags::READ,
            MappingAccess::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        let null = std::ptr::null_mut();
        // SAFETY: a null hint lets the kernel choose free addresses, so no existing mapping is
        // replaced.
        let address =
            unsafe { mmap(null, len_bytes, protection, MapFlags::SHARED, fd, offset_bytes)? };
        Self::from_kernel(address, len_bytes, access)
    }

    /// As [`Mapping::shared`] for reading and writing, where possible at an address that is a
    /// multiple of [`HUGE_PAGE_BYTES`], so that huge pages of the file can be mapped as such.
    ///
    /// # Errors
    /// As for [`Mapping::shared_at`]; for a hugetlb memfd also `NOMEM` where the pool has not
    /// enough pages: they are reserved by this call.
    pub fn shared_huge_aligned(fd: impl AsFd, len_bytes: usize) -> Result<Self> {
        let room_bytes = len_bytes.checked_add(HUGE_PAGE_BYTES).ok_or(Errno::NOMEM)?;
        // Free again at once, and only a hint below: if another thread is faster, the mapping lies
        // elsewhere.
        let room = Self::reserve(room_bytes)?.address.as_ptr();
        let skipped_bytes = room.addr().next_multiple_of(HUGE_PAGE_BYTES) - room.addr();
        let hint = room.wrapping_byte_add(skipped_bytes);
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: without MAP_FIXED the kernel chooses free addresses, so no existing mapping is
        // replaced.
        let address = unsafe { mmap(hint, len_bytes, protection, MapFlags::SHARED, fd, 0)? };
        Self::from_kernel(address, len_bytes, MappingAccess::ReadWrite)
    }

    /// Address space without access.
    fn reserve(len_bytes: usize) -> Result<Self> {
        let null = std::ptr::null_mut();
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a null hint lets the kernel choose free addresses, so no existing mapping is
        // replaced.
        let address = unsafe { mmap_anonymous(null, len_bytes, ProtFlags::empty(), flags)? };
        Self::from_kernel(address, len_bytes, MappingAccess::Read)
    }

    /// Asks for huge pages, of whatever size the system allows for this kind of memory, where the
    /// mapping is populated from now on. Advice: without effect where it cannot be followed.
    ///
    /// See `MADV_HUGEPAGE` in `madvise(2)` and `/sys/kernel/mm/transparent_hugepage/`.
    pub fn advise_huge_pages(&self) {
        // SAFETY: the range is this mapping; the advice changes no content.
        let _ = unsafe { madvise(self.address.as_ptr(), self.len_bytes, Advice::LinuxHugepage) };
    }

    /// Asks for pages of the kernel's own size where the mapping is populated from now on, whatever
    /// the system's settings for this kind of memory say. Advice: without effect on a kernel that
    /// has no others.
    ///
    /// See `MADV_NOHUGEPAGE` in `madvise(2)`.
    pub fn advise_base_pages(&self) {
        // SAFETY: the range is this mapping; the advice changes no content.
        let _ = unsafe { madvise(self.address.as_ptr(), self.len_bytes, Advice::LinuxNoHugepage) };
    }

    /// Moves the memory of each whole, aligned huge page of the mapping into a huge page. Memory
    /// that is not allocated yet becomes zero. The kernel does so for a memfd even where
    /// `shmem_enabled` would give it small pages, unless that says `deny`.
    ///
    /// See `MADV_COLLAPSE` in `madvise(2)`, Linux 6.1.
    ///
    /// # Errors
    /// Some of the memory, or all of it, stays in small pages:
    /// - `INVAL`: the kernel does not know the advice, or forbids it for this memory.
    /// - `NOMEM`, `BUSY`, `AGAIN`: the kernel found no free huge page.
    pub fn collapse_into_huge_pages(&self) -> Result<()> {
        let start = self.address.as_ptr();
        let skipped_bytes = start.addr().next_multiple_of(HUGE_PAGE_BYTES) - start.addr();
        let len_bytes = self.len_bytes.saturating_sub(skipped_bytes) & !(HUGE_PAGE_BYTES - 1);
        // The kernel refuses where not one page is there.
        for huge_page in (0..len_bytes).step_by(HUGE_PAGE_BYTES) {
            let offset_bytes = skipped_bytes + huge_page;
            self.populate_range(offset_bytes..offset_bytes + page_size_bytes())?;
        }
        // SAFETY: the range is inside this mapping; collapsing changes no content.
        let result = unsafe {
            libc::madvise(start.wrapping_byte_add(skipped_bytes), len_bytes, MADV_COLLAPSE)
        };
        if result == 0 {
            Ok(())
        } else {
            Err(last_errno())
        }
    }

    /// Allocates and maps, writable, every page of the mapping that is not there yet.
    ///
    /// Meanwhile no other thread can map or unmap memory; 4 MiB at a time, so that none waits long.
    ///
    /// See `MADV_POPULATE_WRITE` in `madvise(2)`, Linux 5.14.
    ///
    /// # Errors
    /// - `NOMEM`, `FAULT`: not enough memory, or huge pages.
    /// - `INVAL`: the kernel does not know the advice, or the mapping is not writable.
    pub fn populate(&self) -> Result<()> {
        let piece = |start| start..self.len_bytes.min(start + POPULATE_BYTES);
        (0..self.len_bytes)
            .step_by(POPULATE_BYTES)
            .try_for_each(|start| self.populate_range(piece(start)))
    }

    fn populate_range(&self, range: Range<usize>) -> Result<()> {
        let start = self.pointer_to(&range, true)?.cast();
        retry_on_intr(|| {
            // SAFETY: the range is inside this mapping; populating changes no content.
            unsafe { madvise(start, range.len(), Advice::LinuxPopulateWrite) }
        })
    }

    /// Maps zeroed private memory for direct I/O, in transparent huge pages as far as the system
    /// gives them on advice. All of it is there when the call returns.
    ///
    /// `len_bytes` is rounded up to [`HUGE_PAGE_BYTES`].
    ///
    /// # Errors
    /// `INVAL` for 0 bytes, `NOMEM`.
    pub fn anonymous_huge(len_bytes: usize) -> Result<Self> {
        let len_bytes = len_bytes.checked_next_multiple_of(HUGE_PAGE_BYTES).ok_or(Errno::NOMEM)?;
        // The kernel aligns large anonymous mappings to huge pages by itself.
        let mapping = Self::anonymous(len_bytes)?;
        mapping.advise_huge_pages();
        // Without it the pages come one by one, as they are touched.
        let _ = mapping.populate();
        Ok(mapping)
    }

    /// Lets the kernel take the memory of an anonymous mapping whenever it is short of some, and
    /// not before. What is in it by then, and is not written anew, is lost: it reads as zero.
    ///
    /// See `MADV_FREE` in `madvise(2)`. For direct I/O into such memory the kernel must be 5.18, or
    /// a stable one that has "mm: fix race between MADV_FREE reclaim and blkdev direct IO read".
    pub fn release_under_pressure(&self) {
        // SAFETY: the range is this mapping, whose bytes may change at any time to those who look
        // at it.
        let _ = unsafe { madvise(self.address.as_ptr(), self.len_bytes, Advice::LinuxFree) };
    }

    /// Maps `len_bytes` of zeroed private memory, aligned to the page size: a bounce buffer for
    /// direct I/O.
    ///
    /// # Errors
    /// `INVAL` for 0 bytes, `NOMEM`.
    pub fn anonymous(len_bytes: usize) -> Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null hint lets the kernel choose free addresses, so no existing mapping is
        // replaced.
        let address = unsafe {
            mmap_anonymous(std::ptr::null_mut(), len_bytes, protection, MapFlags::PRIVATE)?
        };
        Self::from_kernel(address, len_bytes, MappingAccess::ReadWrite)
    }

    /// As [`Mapping::anonymous`], of a memfd that no other process has. Between it and a mapping
    /// that may lose pages the kernel copies by a read or write of the memfd, which costs less than
    /// `process_vm_readv(2)` where few bytes are copied.
    ///
    /// # Errors
    /// As for [`Mapping::anonymous`], and `MFILE`, `NFILE`.
    pub fn own_memfd(len_bytes: usize) -> Result<Self> {
        let memfd = memfd::create_sealed(c"own memory", len_bytes as u64)?;
        let mut mapping = Self::shared(&memfd, len_bytes, MappingAccess::ReadWrite)?;
        mapping.own_memfd = Some(memfd);
        Ok(mapping)
    }

    fn from_kernel(address: *mut c_void, len_bytes: usize, access: MappingAccess) -> Result<Self> {
        let address = NonNull::new(address).ok_or(Errno::NOMEM)?;
        Ok(Self { address, len_bytes, access, may_lose_pages: false, own_memfd: None })
    }

    /// The same mapping, of a file that its owner can cut, punch or purge while it is mapped: the
    /// calls that copy fail with `FAULT` where a page is gone. Each costs a system call.
    pub fn may_lose_pages(mut self) -> Self {
        self.may_lose_pages = true;
        self
    }

    /// The length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The address of a range that lies inside the mapping.
    fn pointer_to(&self, range: &Range<usize>, writes: bool) -> Result<*mut u8> {
        if range.start > range.end || range.end > self.len_bytes {
            return Err(Errno::FAULT);
        }
        if writes && self.access == MappingAccess::Read {
            return Err(Errno::ACCESS);
        }
        // SAFETY: `range.start` is at most `len_bytes`, so the result is inside the mapping or one
        // past its end.
        Ok(unsafe { self.address.as_ptr().cast::<u8>().add(range.start) })
    }

    fn range_at(offset_bytes: usize, len_bytes: usize) -> Result<Range<usize>> {
        let end = offset_bytes.checked_add(len_bytes).ok_or(Errno::OVERFLOW)?;
        Ok(offset_bytes..end)
    }

    /// Puts the first page into a pipe, which holds the page itself and not a copy, even when the
    /// mapping is gone.
    ///
    /// See `vmsplice(2)`.
    ///
    /// # Errors
    /// `FAULT`: the kernel lets nobody take references to the pages of this mapping.
    pub(crate) fn splice_first_page(&self, pipe: impl AsFd) -> Result<()> {
        let range = 0..page_size_bytes().min(self.len_bytes);
        let start = self.pointer_to(&range, false)?;
        let page = libc::iovec { iov_base: start.cast(), iov_len: range.len() };
        // SAFETY: `page` is one iovec about memory of this mapping, which the kernel only reads;
        // both live across the call. What the pipe holds afterwards are bytes that may change at
        // any time, as any of a shared mapping.
        let spliced = unsafe { libc::vmsplice(pipe.as_fd().as_raw_fd(), &page, 1, 0) };
        to_count(spliced).map(drop)
    }

    /// Copies bytes out of the mapping.
    ///
    /// # Errors
    /// `FAULT` where the range is not inside the mapping; of one that may lose pages also where one
    /// is gone, and `NOSYS` where the kernel has no `CONFIG_CROSS_MEMORY_ATTACH`.
    pub fn read(&self, offset_bytes: usize, target: &mut [u8]) -> Result<()> {
        let range = Self::range_at(offset_bytes, target.len())?;
        let source = self.pointer_to(&range, false)?;
        if self.may_lose_pages {
            // SAFETY: `pointer_to` checked the range of this mapping, which lives as long as
            // `self`; `target` is an exclusive borrow.
            return unsafe { kernel_copy::copy_out_of(source, target.as_mut_ptr(), target.len()) };
        }
        // SAFETY: `pointer_to` checked that `target.len()` bytes lie inside the mapping, which
        // lives as long as `self`; `target` is a distinct exclusive borrow, so the two do not
        // overlap.
        unsafe { std::ptr::copy_nonoverlapping(source, target.as_mut_ptr(), target.len()) };
        Ok(())
    }

    /// Copies bytes into the mapping.
    ///
    /// # Errors
    /// As for [`Mapping::read`], and `ACCESS` where it is mapped for reading.
    pub fn write(&self, offset_bytes: usize, source: &[u8]) -> Result<()> {
        let range = Self::range_at(offset_bytes, source.len())?;
        let target = self.pointer_to(&range, true)?;
        if self.may_lose_pages {
            // SAFETY: as in `read`, and the mapping is writable.
            return unsafe { kernel_copy::copy_into(target, source.as_ptr(), source.len()) };
        }
        // SAFETY: as in `read`, and the mapping is writable.
        unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), target, source.len()) };
        Ok(())
    }

    /// Copies bytes from another mapping into this one.
    ///
    /// # Errors
    /// As for [`Mapping::read`] and [`Mapping::write`]; where both may lose pages, `FAULT`.
    pub fn copy_from(
        &self,
        offset_bytes: usize,
        source: &Mapping,
        source_offset_bytes: usize,
        len_bytes: usize,
    ) -> Result<()> {
        let target = self.pointer_to(&Self::range_at(offset_bytes, len_bytes)?, true)?;
        let from = source.pointer_to(&Self::range_at(source_offset_bytes, len_bytes)?, false)?;
        if self.may_lose_pages {
            if let Some(memfd) = &source.own_memfd {
                return kernel_copy::in_parts(len_bytes, |done, left| {
                    let range = Self::range_at(offset_bytes + done, left)?;
                    self.pread(range, memfd, (source_offset_bytes + done) as u64)
                });
            }
            // SAFETY: both ranges were checked, and this mapping is writable.
            return unsafe { kernel_copy::copy_into(target, from, len_bytes) };
        }
        if source.may_lose_pages {
            if let Some(memfd) = &self.own_memfd {
                return kernel_copy::in_parts(len_bytes, |done, left| {
                    let range = Self::range_at(source_offset_bytes + done, left)?;
                    source.pwrite(range, memfd, (offset_bytes + done) as u64)
                });
            }
            // SAFETY: as above.
            return unsafe { kernel_copy::copy_out_of(from, target, len_bytes) };
        }
        // SAFETY: both ranges were checked; `copy` permits overlap, should `source` be `self`.
        unsafe { std::ptr::copy(from, target, len_bytes) };
        Ok(())
    }

    /// Sets a range to zero.
    ///
    /// # Errors
    /// As for [`Mapping::write`].
    pub fn fill_zero(&self, range: Range<usize>) -> Result<()> {
        if self.may_lose_pages {
            return self.write_zeros(range);
        }
        let target = self.pointer_to(&range, true)?;
        // SAFETY: the range was checked and the mapping is writable.
        unsafe { std::ptr::write_bytes(target, 0, range.len()) };
        Ok(())
    }

    fn write_zeros(&self, range: Range<usize>) -> Result<()> {
        self.pointer_to(&range, true)?;
        let zeros = vec![0; range.len().min(MAX_ZEROS_BYTES)];
        let mut done = range.start;
        while done < range.end {
            let len_bytes = zeros.len().min(range.end - done);
            self.write(done, &zeros[..len_bytes])?;
            done += len_bytes;
        }
        Ok(())
    }

    /// Lets the kernel read from `file` at `file_offset_bytes` into a range; returns the bytes
    /// read, 0 at end of file.
    ///
    /// # Errors
    /// Those of `pread(2)`, `FAULT` and `ACCESS` as for [`Mapping::write`]. `FAULT` also where
    /// direct I/O meets a mapping whose pages cannot be pinned, as those of a dma-buf cannot.
    pub fn pread(
        &self,
        range: Range<usize>,
        file: impl AsFd,
        file_offset_bytes: u64,
    ) -> Result<usize> {
        let target = self.pointer_to(&range, true)?;
        let offset = i64::try_from(file_offset_bytes).map_err(|_| Errno::OVERFLOW)?;
        let fd = file.as_fd().as_raw_fd();
        retry_on_intr(|| {
            // SAFETY: the kernel writes at most `range.len()` bytes to memory that was checked to
            // be inside the mapping.
            to_count(unsafe { libc::pread64(fd, target.cast(), range.len(), offset) })
        })
    }

    /// As [`Mapping::pread`], but only what is in the page cache: nothing is read from storage, and
    /// fewer bytes are read where a page is missing.
    ///
    /// See `RWF_NOWAIT` in `preadv2(2)`.
    ///
    /// # Errors
    /// As for [`Mapping::pread`], and:
    /// - `AGAIN`: the page of the first byte is not in the page cache.
    /// - `OPNOTSUPP`: the file system does not tell.
    pub fn pread_cached(
        &self,
        range: Range<usize>,
        file: impl AsFd,
        file_offset_bytes: u64,
    ) -> Result<usize> {
        let target = self.pointer_to(&range, true)?;
        let (low, high) = offset_words(file_offset_bytes)?;
        let fd = file.as_fd().as_raw_fd();
        let part = libc::iovec { iov_base: target.cast(), iov_len: range.len() };
        retry_on_intr(|| {
            // SAFETY: the kernel reads one iovec and writes at most `range.len()` bytes to memory
            // that was checked to be inside the mapping.
            to_count(unsafe {
                libc::syscall(libc::SYS_preadv2, fd, &raw const part, 1, low, high, RWF_NOWAIT)
            })
        })
    }

    /// Lets the kernel write a range to `file` at `file_offset_bytes`; returns the bytes written.
    ///
    /// # Errors
    /// Those of `pwrite(2)`, and `FAULT` as for [`Mapping::read`].
    pub fn pwrite(
        &self,
        range: Range<usize>,
        file: impl AsFd,
        file_offset_bytes: u64,
    ) -> Result<usize> {
        self.pwrite_as(range, file, file_offset_bytes, Append::AsOpened)
    }

    /// As [`Mapping::pwrite`], and says what `O_APPEND` of the file means.
    ///
    /// # Errors
    /// As for [`Mapping::pwrite`], and `OPNOTSUPP` where the kernel does not know
    /// [`Append::Ignored`].
    pub fn pwrite_as(
        &self,
        range: Range<usize>,
        file: impl AsFd,
        file_offset_bytes: u64,
        append: Append,
    ) -> Result<usize> {
        let source = self.pointer_to(&range, false)?;
        let (low, high) = offset_words(file_offset_bytes)?;
        let fd = file.as_fd().as_raw_fd();
        let part = libc::iovec { iov_base: source.cast(), iov_len: range.len() };
        let flags = match append {
            Append::AsOpened => 0,
            Append::Ignored => RWF_NOAPPEND,
        };
        retry_on_intr(|| {
            // SAFETY: the kernel reads one iovec, and at most `range.len()` bytes from memory that
            // was checked to be inside the mapping.
            to_count(unsafe {
                libc::syscall(libc::SYS_pwritev2, fd, &raw const part, 1, low, high, flags)
            })
        })
    }
}

/// An offset as `preadv2(2)` takes it: the kernel puts two words together, of which a long one
/// holds all of it.
fn offset_words(offset_bytes: u64) -> Result<(libc::c_long, libc::c_long)> {
    let offset = i64::try_from(offset_bytes).map_err(|_| Errno::OVERFLOW)?;
    Ok((offset as libc::c_long, (offset >> 32) as libc::c_long))
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: address and length are those of a mapping this object made and owns; no reference
        // into it exists.
        let _ = unsafe { munmap(self.address.as_ptr(), self.len_bytes) };
    }
}

fn to_count(returned: impl TryInto<usize>) -> Result<usize> {
    returned.try_into().map_err(|_| last_errno())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapsing_keeps_what_is_there() {
        let memfd = crate::memfd::create_sealed(c"collapsed", 5 << 20).unwrap();
        let mapping = Mapping::shared_huge_aligned(&memfd, 5 << 20).unwrap();
        mapping.write((3 << 20) + 5, &[7]).unwrap();
        mapping.write((5 << 20) - 1, &[8]).unwrap();
        // Whether the kernel does it, or how much of it, is its own affair.
        let _ = mapping.collapse_into_huge_pages();
        let mut seen = vec![0; 5 << 20];
        mapping.read(0, &mut seen).unwrap();
        let expected = |at| match at {
            0x30_0005 => 7,
            0x4f_ffff => 8,
            _ => 0,
        };
        assert!(seen.iter().enumerate().all(|(at, byte)| *byte == expected(at)));
    }

    #[test]
    fn bytes_written_are_read_back() {
        let mapping = Mapping::anonymous(4096).unwrap();
        mapping.write(4000, &[7; 96]).unwrap();
        let mut seen = [0; 97];
        mapping.read(3999, &mut seen).unwrap();
        assert_eq!(seen[0], 0);
        assert!(seen[1..].iter().all(|byte| *byte == 7));
        mapping.fill_zero(4000..4096).unwrap();
        mapping.read(3999, &mut seen).unwrap();
        assert_eq!(seen, [0; 97]);
    }

    #[test]
    fn ranges_outside_are_refused() {
        let mapping = Mapping::anonymous(4096).unwrap();
        assert_eq!(mapping.write(4096, &[1]), Err(Errno::FAULT));
        assert_eq!(mapping.read(usize::MAX, &mut [0; 2]), Err(Errno::OVERFLOW));
        assert_eq!(mapping.fill_zero(1..4097), Err(Errno::FAULT));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(mapping.pread(4090..4100, &null, 0), Err(Errno::FAULT));
    }

    #[test]
    fn a_read_only_mapping_cannot_be_written() {
        let memfd = crate::memfd::create_sealed(c"test", 4096).unwrap();
        let mapping = Mapping::shared(&memfd, 4096, MappingAccess::Read).unwrap();
        assert_eq!(mapping.write(0, &[1]), Err(Errno::ACCESS));
        assert_eq!(mapping.fill_zero(0..1), Err(Errno::ACCESS));
    }

    #[test]
    fn a_huge_aligned_mapping_shows_the_file() {
        let len_bytes = (2 << 20) + 100;
        let memfd = crate::memfd::create_sealed(c"test", len_bytes as u64).unwrap();
        let mapping = Mapping::shared_huge_aligned(&memfd, len_bytes).unwrap();
        mapping.advise_huge_pages();
        mapping.advise_base_pages();
        mapping.populate().unwrap();
        mapping.write(len_bytes - 3, b"end").unwrap();
        let mut seen = [0; 3];
        rustix::io::pread(&memfd, &mut seen, len_bytes as u64 - 3).unwrap();
        assert_eq!(&seen, b"end");
        assert_eq!(mapping.write(len_bytes, b"x"), Err(Errno::FAULT));
    }

    #[test]
    fn huge_memory_is_zeroed_whole_and_writable() {
        let mapping = Mapping::anonymous_huge(1).unwrap();
        assert_eq!(mapping.len_bytes(), HUGE_PAGE_BYTES);
        let mut seen = [1; 16];
        mapping.read(HUGE_PAGE_BYTES - 16, &mut seen).unwrap();
        assert_eq!(seen, [0; 16]);
        mapping.write(0, b"x").unwrap();
        mapping.release_under_pressure();
        mapping.write(1, b"y").unwrap();
        mapping.read(1, &mut seen).unwrap();
        assert_eq!(seen[0], b'y');
        assert!(Mapping::anonymous_huge(usize::MAX).is_err());
    }

    #[test]
    fn pread_and_pwrite_move_bytes_between_file_and_mapping() {
        let memfd = crate::memfd::create_sealed(c"test", 8192).unwrap();
        let source = Mapping::anonymous(4096).unwrap();
        source.write(0, b"dma-buf").unwrap();
        assert_eq!(source.pwrite(0..7, &memfd, 5000), Ok(7));
        let target = Mapping::anonymous(4096).unwrap();
        assert_eq!(target.pread(10..4096, &memfd, 5000), Ok(3192));
        let mut seen = [0; 8];
        target.read(10, &mut seen).unwrap();
        assert_eq!(&seen, b"dma-buf\0");
    }

    #[test]
    fn a_write_at_an_offset_does_not_append() {
        use std::os::fd::OwnedFd;

        let file = tempfile::NamedTempFile::new().unwrap();
        let append = OwnedFd::from(std::fs::File::options().append(true).open(&file).unwrap());
        let memory = Mapping::anonymous(4096).unwrap();
        memory.write(0, b"new").unwrap();
        std::fs::write(&file, b"0123456789").unwrap();
        match memory.pwrite_as(0..3, &append, 2, Append::Ignored) {
            Err(errno) => assert_eq!(errno, Errno::OPNOTSUPP),
            written => {
                assert_eq!(written, Ok(3));
                assert_eq!(std::fs::read(&file).unwrap(), b"01new56789");
                let far = (1 << 33) + 5;
                assert_eq!(memory.pwrite_as(0..3, &append, far, Append::Ignored), Ok(3));
                assert_eq!(file.as_file().metadata().unwrap().len(), far + 3);
            }
        }
    }

    #[test]
    fn only_what_is_in_the_page_cache_is_read_without_storage() {
        // Not in /tmp, which may be a tmpfs: it does not tell.
        let program = std::env::current_exe().unwrap();
        let file = tempfile::tempfile_in(program.parent().unwrap()).unwrap();
        file.set_len(8192).unwrap();
        rustix::io::pwrite(&file, b"cached", 4090).unwrap();
        let memory = Mapping::anonymous(4096).unwrap();
        let read = memory.pread_cached(0..6, &file, 4090);
        if read == Err(Errno::OPNOTSUPP) {
            return;
        }
        assert_eq!(read, Ok(6));
        let mut seen = [0; 6];
        memory.read(0, &mut seen).unwrap();
        assert_eq!(&seen, b"cached");
        assert_eq!(memory.pread_cached(0..6, &file, 8192), Ok(0), "the end of the file");
    }
}
