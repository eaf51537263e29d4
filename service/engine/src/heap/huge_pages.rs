// SPDX-License-Identifier: Apache-2.0
//! Which pages a memfd can have now.

use dmabuf_uapi::mapping::{Mapping, HUGE_PAGE_BYTES};
use dmabuf_uapi::memfd::create_sealed;
use dmabuf_uapi::Errno;

use crate::buffer::PageKind;
use crate::meminfo::Meminfo;

/// The administrator's setting of transparent huge pages for memfds.
const SHMEM_ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// The most memory that rounding up to huge pages may waste: a quarter of the size.
const MAX_WASTE_DIVISOR: u64 = 4;

/// The huge pages that memfds could have now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct HugePages {
    /// In the hugetlb pool, of 2 MiB each, and not reserved.
    free_hugetlb: u64,
    /// Whether memfds can get transparent ones.
    transparent: bool,
}

/// What the kernel does about huge pages of memfds, as far as it cannot change.
#[derive(Clone, Copy, Debug)]
pub(super) struct HugePageSupport {
    /// `MADV_COLLAPSE` makes huge pages of a memfd where no setting gives any.
    collapses: bool,
}

impl HugePageSupport {
    /// Tries it.
    pub(super) fn probe() -> Self {
        let attempt = || {
            let memfd = create_sealed(c"dmabuf-loader-probe", HUGE_PAGE_BYTES as u64)?;
            Mapping::shared_huge_aligned(&memfd, HUGE_PAGE_BYTES)?.collapse_into_huge_pages()
        };
        // That the kernel finds no huge page just now says nothing about later.
        Self { collapses: attempt().err() != Some(Errno::INVAL) }
    }

    /// The kinds of page that a memfd of `size_bytes` may be made of now, cheapest first; base
    /// pages always come last.
    pub(super) fn page_kinds(self, size_bytes: u64) -> Vec<PageKind> {
        // Small requests need not wait for the answer.
        let available =
            if may_be_huge(size_bytes) { self.available() } else { HugePages::default() };
        candidates(size_bytes, available)
    }

    /// Asks the kernel. What it does not tell counts as missing, and is not tried in vain.
    fn available(self) -> HugePages {
        let shmem_enabled = std::fs::read_to_string(SHMEM_ENABLED).unwrap_or_default();
        HugePages {
            free_hugetlb: free_hugetlb(&Meminfo::read()),
            transparent: is_enabled(&shmem_enabled)
                || (!is_denied(&shmem_enabled) && self.collapses),
        }
    }
}

/// Whether a buffer of this size can be made of huge pages at all.
fn may_be_huge(size_bytes: u64) -> bool {
    let huge = HUGE_PAGE_BYTES as u64;
    size_bytes >= huge || huge - size_bytes <= size_bytes / MAX_WASTE_DIVISOR
}

fn candidates(size_bytes: u64, available: HugePages) -> Vec<PageKind> {
    let huge = HUGE_PAGE_BYTES as u64;
    let pages = size_bytes.div_ceil(huge);
    let wasted_bytes = pages * huge - size_bytes;
    let mut kinds = Vec::with_capacity(3);
    if pages <= available.free_hugetlb && wasted_bytes <= size_bytes / MAX_WASTE_DIVISOR {
        kinds.push(PageKind::Hugetlb);
    }
    if available.transparent && size_bytes >= huge {
        kinds.push(PageKind::Transparent);
    }
    kinds.push(PageKind::Base);
    kinds
}

/// Free pages of the pool; 0 where the pool's pages are of another size.
fn free_hugetlb(meminfo: &Meminfo) -> u64 {
    let size_fits = meminfo.value("Hugepagesize") == Some(HUGE_PAGE_BYTES as u64 / 1024);
    let free = meminfo.value("HugePages_Free").unwrap_or(0);
    let reserved = meminfo.value("HugePages_Rsvd").unwrap_or(0);
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
    use crate::buffer::Backing;

    #[test]
    fn a_pool_without_pages_is_refused_and_not_killed() {
        let pages = HugePageSupport { collapses: false }.available().free_hugetlb + 1;
        assert!(Backing::create(pages * HUGE_PAGE_BYTES as u64, PageKind::Hugetlb).is_err());
    }

    #[test]
    fn huge_pages_are_tried_where_they_waste_little() {
        use PageKind::{Base, Hugetlb, Transparent};
        let all = HugePages { free_hugetlb: 16, transparent: true };
        let pool = HugePages { transparent: false, ..all };
        for (size_bytes, huge) in
            [(4096, false), (1 << 20, false), (7 << 18, true), (5 << 20, true)]
        {
            assert_eq!(may_be_huge(size_bytes), huge, "{size_bytes}");
            let candidates = candidates(size_bytes, all);
            assert!(huge || candidates[..] == [Base], "{size_bytes} {candidates:?}");
        }
        assert_eq!(candidates((2 << 20) + 4096, all), [Transparent, Base]);
        assert_eq!(candidates(32 << 20, all), [Hugetlb, Transparent, Base]);
        assert_eq!(candidates((32 << 20) + 4096, all), [Transparent, Base]);
        assert_eq!(candidates((9 << 20) + 4096, pool), [Hugetlb, Base]);
        assert_eq!(candidates(32 << 20, HugePages::default()), [Base]);
    }

    #[test]
    fn reserved_pages_of_the_pool_are_not_free() {
        let text = "MemTotal:  1 kB\nHugePages_Total:  9\nHugePages_Free:    7\n\
                    HugePages_Rsvd:    2\nHugepagesize:    2048 kB\n";
        let free = |text: &str| free_hugetlb(&Meminfo::from(text));
        assert_eq!(free(text), 5);
        assert_eq!(free(&text.replace("2048", "524288")), 0);
        assert_eq!(free(""), 0);
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
