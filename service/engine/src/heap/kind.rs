// SPDX-License-Identifier: Apache-2.0
//! What can stand behind a heap.

use crate::buffer::PageKind;

/// What stands behind a heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapKind {
    /// A node of `/dev/dma_heap`.
    DmaHeap,
    /// The udmabuf driver over a sealed memfd.
    Udmabuf,
    /// A sealed memfd alone, which no device can use.
    Memfd,
}

impl HeapKind {
    /// Whether its buffers are dma-bufs.
    pub fn device_shareable(self) -> bool {
        self != HeapKind::Memfd
    }

    /// The kinds of pages that can back its buffers, cheapest first. The kernel may lack all but
    /// the last. `None` means that the kernel's heap chooses the pages.
    pub(crate) fn all_page_kinds(self) -> &'static [Option<PageKind>] {
        match self {
            HeapKind::DmaHeap => &[None],
            HeapKind::Udmabuf => {
                &[Some(PageKind::Hugetlb), Some(PageKind::Transparent), Some(PageKind::Base)]
            }
            // A memfd is exactly of the size asked for, which hugetlb pages are not.
            HeapKind::Memfd => &[Some(PageKind::Transparent), Some(PageKind::Base)],
        }
    }
}
