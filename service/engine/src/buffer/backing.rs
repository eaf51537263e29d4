// SPDX-License-Identifier: Apache-2.0
//! The memory of udmabufs and bare memfds: populated memfds, in huge pages where there are some.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dmabuf_uapi::mapping::{Mapping, HUGE_PAGE_BYTES};
use dmabuf_uapi::memfd::{create_sealed, create_sealed_hugetlb};
use dmabuf_uapi::{page_size_bytes, Errno};

/// The pages of a memfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageKind {
    /// Of the hugetlb pool, 2 MiB each.
    Hugetlb,
    /// Transparent huge pages, as far as the kernel finds them; else base pages.
    Transparent,
    /// Of the kernel's page size.
    Base,
}

/// The fewest pages that the kernel takes for a large folio of a memfd.
const SMALLEST_LARGE_FOLIO_PAGES: u64 = 4;

/// Whether a memfd of this size can get folios of more than one page.
pub(crate) fn may_be_large_folios(size_bytes: u64) -> bool {
    size_bytes >= SMALLEST_LARGE_FOLIO_PAGES * page_size_bytes() as u64
}

/// A populated memfd and its mapping, which direct I/O can pin, unlike a mapping of the dma-buf
/// over it.
///
/// Populating comes before the udmabuf is made: that would fill the memfd with base pages.
#[derive(Debug)]
pub(crate) struct Backing {
    memfd: OwnedFd,
    mapping: Mapping,
}

impl Backing {
    /// Makes and populates a memfd of at least `size_bytes`, whole pages.
    pub(crate) fn create(size_bytes: u64, pages: PageKind) -> dmabuf_uapi::Result<Self> {
        let huge = HUGE_PAGE_BYTES as u64;
        let (memfd, len_bytes) = match pages {
            PageKind::Hugetlb => {
                let len_bytes = size_bytes.checked_next_multiple_of(huge).ok_or(Errno::NOMEM)?;
                (create_sealed_hugetlb(c"dmabuf-loader", len_bytes)?, len_bytes)
            }
            _ => (create_sealed(c"dmabuf-loader", size_bytes)?, size_bytes),
        };
        let len = usize::try_from(len_bytes).map_err(|_| Errno::NOMEM)?;
        let mapping = Mapping::shared_huge_aligned(&memfd, len)?;
        match pages {
            PageKind::Transparent => {
                mapping.advise_huge_pages();
                // Where `shmem_enabled` does not heed the advice. What this leaves undone comes in
                // base pages below.
                let _ = mapping.collapse_into_huge_pages();
            }
            PageKind::Base if may_be_large_folios(size_bytes) => mapping.advise_base_pages(),
            PageKind::Hugetlb | PageKind::Base => {}
        }
        mapping.populate()?;
        Ok(Self { memfd, mapping })
    }

    pub(crate) fn memfd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backing_is_populated_and_mapped_whole() {
        for pages in [PageKind::Transparent, PageKind::Base] {
            let backing = Backing::create(3 << 20, pages).unwrap();
            assert_eq!(backing.mapping().len_bytes(), 3 << 20);
            backing.mapping().write((3 << 20) - 1, &[7]).unwrap();
            let mut byte = [0];
            rustix::io::pread(backing.memfd(), &mut byte, (3 << 20) - 1).unwrap();
            assert_eq!(byte, [7]);
        }
    }
}
