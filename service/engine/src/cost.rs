// SPDX-License-Identifier: Apache-2.0
//! What it costs to make, fill and free a buffer, to compare ways and heaps by. Pure numbers.
//!
//! The unit is a million CPU instructions per GiB. The figures come from the benchmark (`cargo vts bench --cost`, results in
//! `vts/bench/results`): Linux 6.12, F2FS on virtio-blk, x86-64, under an emulator that counts instructions. Ratios are what
//! matters; they differ from machine to machine less than the gaps between the ways.

use crate::heap::{HeapKind, PageKind};
use crate::path::{Path, Way};

/// A million CPU instructions per GiB.
pub type CostPerGib = u32;

/// To allocate, zero and free memory.
pub fn memory(kind: HeapKind, pages: Option<PageKind>) -> CostPerGib {
    match (kind, pages) {
        (HeapKind::DmaHeap, _) => 1100,
        (_, Some(PageKind::Hugetlb)) => 1120,
        // On kernels that clear memory at allocation, as Android's do, these pages are cleared twice.
        (_, Some(PageKind::Transparent)) => 2240,
        (_, Some(PageKind::Base) | None) => 3430,
    }
}

/// To move the bytes of a file that is not in the page cache.
pub fn movement(pages: Option<PageKind>, way: Way) -> CostPerGib {
    let base_pages = pages == Some(PageKind::Base);
    match (way.path, way.direct) {
        (Path::CopyFileRange, true) if pages.is_none() => 6,
        (Path::CopyFileRange, true) => 21,
        (Path::UdmabufDirect, _) if base_pages => 162,
        (Path::UdmabufDirect, _) => 23,
        // Memory that is mapped already needs no mapping of the dma-buf, page by page.
        (Path::Bounce, _) if pages.is_some() => 162,
        (Path::Bounce, _) => 405,
        (Path::CopyFileRange, false) => 890,
        (Path::Buffered, _) => 2500,
    }
}

/// Up to here a file that is not open for direct I/O is read through the page cache at a lower cost than it is opened again,
/// which made a load of 4 KiB cost 10,000 to 14,000 instructions more. To read a page that is not in the page cache through it
/// costs about 9,500, one that is there less than to read it directly.
pub const REOPENING_PAYS_ABOVE_BYTES: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_ways_is_that_of_their_costs() {
        for pages in [None, Some(PageKind::Hugetlb), Some(PageKind::Base)] {
            let costs: Vec<CostPerGib> =
                Way::BEST_FIRST.iter().map(|way| movement(pages, *way)).collect();
            assert!(costs.is_sorted(), "{pages:?} {costs:?}");
        }
    }
}
