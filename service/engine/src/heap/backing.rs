// SPDX-License-Identifier: Apache-2.0
//! The memory of udmabufs and bare memfds: memfds, in huge pages as far as they are to be had.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use dmabuf_uapi::mapping::{Mapping, HUGE_PAGE_BYTES};
use dmabuf_uapi::memfd::{create_sealed, create_sealed_hugetlb};
use dmabuf_uapi::Errno;
use smallvec::SmallVec;

/// What the administrator wants of transparent huge pages for memfds.
const SHMEM_ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Where the kernel says how many huge pages the hugetlb pool has to give.
const MEMINFO: &str = "/proc/meminfo";

/// The most memory that rounding up to huge pages may waste: a quarter of the size.
const MAX_WASTE_DIVISOR: u64 = 4;

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

/// A populated memfd and its mapping, which direct I/O can pin, unlike a mapping of the dma-buf over it.
///
/// Populating comes before the udmabuf is made: that would fill the memfd with base pages.
#[derive(Debug)]
pub(crate) struct Backing {
    memfd: OwnedFd,
    mapping: Mapping,
}

impl Backing {
    /// Makes and populates a memfd of at least `size_bytes`, whole pages.
    pub(super) fn create(size_bytes: u64, pages: PageKind) -> dmabuf_uapi::Result<Self> {
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
        if pages == PageKind::Transparent {
            mapping.advise_huge_pages();
            // Where `shmem_enabled` does not heed the advice. What this leaves undone comes in base pages below.
            let _ = mapping.collapse_into_huge_pages();
        }
        mapping.populate()?;
        Ok(Self { memfd, mapping })
    }

    pub(super) fn memfd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }
}

/// The huge pages that memfds could have now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HugePages {
    /// In the hugetlb pool, of 2 MiB each, and not reserved.
    pub(super) free_hugetlb: u64,
    /// Whether memfds can get transparent ones.
    pub(super) transparent: bool,
}

impl HugePages {
    /// Asks the kernel. What it does not tell counts as not there, and is then not tried in vain.
    pub(super) fn available() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            free_hugetlb: free_hugetlb(&read(MEMINFO)),
            transparent: match &read(SHMEM_ENABLED) {
                text if is_enabled(text) => true,
                text if is_denied(text) => false,
                _ => kernel_collapses(),
            },
        }
    }
}

/// Whether the kernel makes huge pages of a memfd's where no setting gives any. Tried once.
fn kernel_collapses() -> bool {
    static COLLAPSES: OnceLock<bool> = OnceLock::new();
    let attempt = || {
        let memfd = create_sealed(c"dmabuf-loader", HUGE_PAGE_BYTES as u64)?;
        Mapping::shared_huge_aligned(&memfd, HUGE_PAGE_BYTES)?.collapse_into_huge_pages()
    };
    // That there is no huge page just now says nothing about later.
    *COLLAPSES.get_or_init(|| attempt().err() != Some(Errno::INVAL))
}

/// Whether huge pages come into question for a size at all.
pub(super) fn may_be_huge(size_bytes: u64) -> bool {
    let huge = HUGE_PAGE_BYTES as u64;
    size_bytes >= huge || huge - size_bytes <= size_bytes / MAX_WASTE_DIVISOR
}

impl PageKind {
    /// The kinds of page that a memfd of `size_bytes` may be made of, cheapest first; base pages always come last.
    pub(super) fn candidates(size_bytes: u64, available: HugePages) -> SmallVec<[Self; 3]> {
        let huge = HUGE_PAGE_BYTES as u64;
        let pages = size_bytes.div_ceil(huge);
        let wasted_bytes = pages * huge - size_bytes;
        let mut kinds = SmallVec::new();
        if pages <= available.free_hugetlb && wasted_bytes <= size_bytes / MAX_WASTE_DIVISOR {
            kinds.push(Self::Hugetlb);
        }
        if available.transparent && size_bytes >= huge {
            kinds.push(Self::Transparent);
        }
        kinds.push(Self::Base);
        kinds
    }
}

/// Free pages of the pool as `/proc/meminfo` has them; 0 where the pool's pages are of another size.
fn free_hugetlb(meminfo: &str) -> u64 {
    let value = |key: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    let size_fits = value("Hugepagesize:") == Some(HUGE_PAGE_BYTES as u64 / 1024);
    let free = value("HugePages_Free:").unwrap_or(0);
    let reserved = value("HugePages_Rsvd:").unwrap_or(0);
    if size_fits {
        free.saturating_sub(reserved)
    } else {
        0
    }
}

fn is_enabled(shmem_enabled: &str) -> bool {
    ["[always]", "[within_size]", "[advise]", "[force]"]
        .iter()
        .any(|choice| shmem_enabled.contains(choice))
}

/// An empty text is that of a kernel without such pages.
fn is_denied(shmem_enabled: &str) -> bool {
    shmem_enabled.is_empty() || shmem_enabled.contains("[deny]")
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

    #[test]
    fn a_pool_without_pages_is_refused_and_not_killed() {
        let pages = HugePages::available().free_hugetlb + 1;
        assert!(Backing::create(pages * HUGE_PAGE_BYTES as u64, PageKind::Hugetlb).is_err());
    }

    #[test]
    fn huge_pages_are_tried_where_there_are_some_and_they_waste_little() {
        use PageKind::{Base, Hugetlb, Transparent};
        let all = HugePages { free_hugetlb: 16, transparent: true };
        let pool = HugePages { transparent: false, ..all };
        for (size_bytes, huge) in
            [(4096, false), (1 << 20, false), (7 << 18, true), (5 << 20, true)]
        {
            assert_eq!(may_be_huge(size_bytes), huge, "{size_bytes}");
            let candidates = PageKind::candidates(size_bytes, all);
            assert!(huge || candidates[..] == [Base], "{size_bytes} {candidates:?}");
        }
        assert_eq!(PageKind::candidates((2 << 20) + 4096, all)[..], [Transparent, Base]);
        assert_eq!(PageKind::candidates(32 << 20, all)[..], [Hugetlb, Transparent, Base]);
        assert_eq!(PageKind::candidates((32 << 20) + 4096, all)[..], [Transparent, Base]);
        assert_eq!(PageKind::candidates((9 << 20) + 4096, pool)[..], [Hugetlb, Base]);
        assert_eq!(PageKind::candidates(32 << 20, HugePages::default())[..], [Base]);
    }

    #[test]
    fn reserved_pages_of_the_pool_are_not_free() {
        let text = "MemTotal:  1 kB\nHugePages_Total:  9\nHugePages_Free:    7\n\
                    HugePages_Rsvd:    2\nHugepagesize:    2048 kB\n";
        assert_eq!(free_hugetlb(text), 5);
        assert_eq!(free_hugetlb(&text.replace("2048", "524288")), 0);
        assert_eq!(free_hugetlb(""), 0);
    }

    #[test]
    fn the_choice_in_brackets_counts() {
        assert!(is_enabled("always within_size [advise] never deny force\n"));
        assert!(!is_enabled("always within_size advise [never] deny force\n"));
        assert!(!is_enabled(""));
        assert!(is_denied("always within_size advise never [deny] force\n"));
        assert!(is_denied(""));
        assert!(!is_denied("always within_size advise [never] deny force\n"));
    }
}
