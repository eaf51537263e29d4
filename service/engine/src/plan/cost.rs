// SPDX-License-Identifier: Apache-2.0
//! What it costs to make, fill and free a buffer, to compare ways and heaps by. Pure numbers.
//!
//! The unit is a million CPU instructions per GiB. The figures come from the benchmark (`cargo vts
//! bench --cost`, results in `vts/bench/results`): Linux 6.12, F2FS on virtio-blk, x86-64, under an
//! emulator that counts instructions. Ratios are what matters; they differ from machine to machine
//! less than the gaps between the paths.

use crate::buffer::PageKind;
use crate::heap::HeapKind;
use crate::io_path::IoPath;

/// A million CPU instructions per GiB.
pub(crate) type CostPerGib = u32;

/// To allocate, zero and free memory.
pub(crate) fn memory(kind: HeapKind, pages: Option<PageKind>) -> CostPerGib {
    match (kind, pages) {
        (HeapKind::DmaHeap, _) => 1100,
        (_, Some(PageKind::Hugetlb)) => 1120,
        // On kernels that clear memory at allocation, as Android's do, these pages are cleared
        // twice.
        (_, Some(PageKind::Transparent)) => 2240,
        (_, Some(PageKind::Base) | None) => 3430,
    }
}

/// To move the bytes of a file that is not in the page cache.
pub(crate) fn movement(pages: Option<PageKind>, path: IoPath) -> CostPerGib {
    let base_pages = pages == Some(PageKind::Base);
    match path {
        IoPath::CopyFileRangeDirect if pages.is_none() => 6,
        IoPath::CopyFileRangeDirect => 21,
        IoPath::UdmabufDirect if base_pages => 162,
        IoPath::UdmabufDirect => 23,
        // Memory that is mapped already needs no mapping of the dma-buf, page by page.
        IoPath::Bounce if pages.is_some() => 162,
        IoPath::Bounce => 405,
        IoPath::CopyFileRangeBuffered => 890,
        IoPath::Buffered => 2500,
    }
}

/// Up to here a file that is not open for direct I/O is read through the page cache at a lower cost
/// than it is opened again, which made a load of 4 KiB cost 10,000 to 14,000 instructions more. To
/// read a page that is not in the page cache through it costs about 9,500, one that is there less
/// than to read it directly.
pub(crate) const REOPENING_PAYS_ABOVE_BYTES: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_paths_is_that_of_their_costs() {
        for pages in [None, Some(PageKind::Hugetlb), Some(PageKind::Base)] {
            let costs: Vec<CostPerGib> =
                IoPath::CHEAPEST_FIRST.iter().map(|path| movement(pages, *path)).collect();
            assert!(costs.is_sorted(), "{pages:?} {costs:?}");
        }
    }
}
