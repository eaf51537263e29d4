// SPDX-License-Identifier: Apache-2.0
//! One heap: what stands behind it, and allocation from it. All heaps of the machine are [`Heaps`].

mod dma_heap;
mod facts;
mod heaps;
mod huge_pages;
mod huge_udmabufs;
mod kind;
mod memfd;
mod page_holding;
mod udmabuf;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use dmabuf_uapi::{page_size_bytes, Errno};

use crate::buffer::{may_be_large_folios, Allocated, Backing, Buffer, BufferName, PageKind};
use crate::error::{EngineError, Result};
use crate::io_path::Detail;

use huge_pages::HugePageSupport;

pub use facts::HeapFacts;
pub(crate) use heaps::round_to_pages;
pub use heaps::{HeapConfig, Heaps};
pub use huge_udmabufs::HugeUdmabufs;
pub use kind::HeapKind;

/// What happens to a buffer after its allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// It is exported to the client as it is.
    Export,
    /// The engine fills it first.
    Fill,
}

/// One heap of the machine, opened once.
#[derive(Debug)]
pub struct Heap {
    /// The name to ask for.
    pub name: Arc<str>,
    /// What stands behind it.
    pub kind: HeapKind,
    /// The largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// What is known about its memory.
    pub facts: HeapFacts,
    /// Whether a request that names no heap may get a buffer of it.
    pub serves_any: bool,
    /// Why its buffers are never of huge pages; `None` where they may be, or where the kernel's
    /// heap chooses the pages.
    pub no_huge_pages: Option<Detail>,
    /// Whether a client that has given a buffer back may still hold pages of it.
    pub(crate) pages_can_be_held: bool,
    node: Node,
}

/// How a heap allocates.
#[derive(Debug)]
enum Node {
    DmaHeap(OwnedFd),
    Udmabuf(OwnedFd, HugePageSupport),
    Memfd(HugePageSupport),
}

impl Heap {
    fn new(name: &str, kind: HeapKind, max_buffer_bytes: u64, node: Node) -> Self {
        Self {
            name: name.into(),
            kind,
            max_buffer_bytes,
            facts: match kind {
                HeapKind::DmaHeap => HeapFacts::of_node(name),
                HeapKind::Udmabuf | HeapKind::Memfd => HeapFacts::PAGES,
            },
            serves_any: true,
            no_huge_pages: None,
            pages_can_be_held: true,
            node,
        }
    }

    fn dma_heap(name: &str, node: OwnedFd) -> Self {
        Self::new(name, HeapKind::DmaHeap, i64::MAX as u64, Node::DmaHeap(node))
    }

    fn udmabuf(node: OwnedFd, support: HugePageSupport) -> Self {
        let node = Node::Udmabuf(node, support);
        Self::new("udmabuf", HeapKind::Udmabuf, udmabuf::size_limit_bytes(), node)
    }

    fn memfd(support: HugePageSupport) -> Self {
        Self::new("memfd", HeapKind::Memfd, i64::MAX as u64, Node::Memfd(support))
    }

    /// Whether its buffers are of huge pages while the kernel has some; `None` where the kernel's
    /// heap chooses the pages.
    pub fn has_huge_pages(&self) -> Option<bool> {
        (self.kind != HeapKind::DmaHeap).then_some(self.no_huge_pages.is_none())
    }

    /// The kinds of page that a buffer of `size_bytes` may be made of now, cheapest first.
    pub(crate) fn page_kinds(&self, size_bytes: u64) -> Vec<Option<PageKind>> {
        match &self.node {
            Node::DmaHeap(_) => vec![None],
            _ if self.no_huge_pages.is_some() => vec![Some(PageKind::Base)],
            Node::Udmabuf(_, support) | Node::Memfd(support) => {
                let kinds = support.page_kinds(size_bytes).into_iter().map(Some);
                kinds.filter(|pages| self.kind.all_page_kinds().contains(pages)).collect()
            }
        }
    }

    /// A buffer of one page, to try things on.
    ///
    /// # Errors
    /// [`EngineError::NoMemory`].
    pub(crate) fn sample(&self) -> Result<Allocated> {
        let pages = (self.kind != HeapKind::DmaHeap).then_some(PageKind::Base);
        let name = BufferName::new("", "dmabuf-loader-probe")?;
        self.allocate(page_size_bytes() as u64, pages, &name, Purpose::Fill)
    }

    /// Allocates a zeroed buffer of `size_bytes`, which must be whole pages and within the heap's
    /// limit, of these pages.
    ///
    /// # Errors
    /// [`EngineError::NoMemory`] or [`EngineError::HeapFailed`] with the kernel's answer.
    pub(crate) fn allocate(
        &self,
        size_bytes: u64,
        pages: Option<PageKind>,
        name: &BufferName,
        purpose: Purpose,
    ) -> Result<Allocated> {
        let (fd, backing) = self
            .create(size_bytes, pages, purpose)
            .map_err(|errno| EngineError::allocation(self.name.to_string(), size_bytes, errno))?;
        let device_shareable = self.kind.device_shareable();
        if device_shareable {
            name.give_to(&fd);
        }
        let heap = self.name.to_string();
        let buffer = Buffer { fd, size_bytes, heap, device_shareable };
        Ok(Allocated { buffer, backing, pages, is_zero: true, retained: None })
    }

    fn create(
        &self,
        size_bytes: u64,
        pages: Option<PageKind>,
        purpose: Purpose,
    ) -> std::result::Result<(OwnedFd, Option<Backing>), Errno> {
        let with_memory = |(fd, backing)| (fd, Some(backing));
        let pages = pages.unwrap_or(PageKind::Base);
        match (&self.node, purpose) {
            (Node::DmaHeap(node), _) => {
                Ok((dmabuf_uapi::dma_heap::allocate(node, size_bytes)?, None))
            }
            (Node::Udmabuf(node, _), Purpose::Fill) => {
                udmabuf::create_backed(node, size_bytes, pages).map(with_memory)
            }
            // The driver allocates large folios where the system's settings give some.
            (Node::Udmabuf(node, _), Purpose::Export)
                if pages == PageKind::Base
                    && (self.no_huge_pages.is_none() || !may_be_large_folios(size_bytes)) =>
            {
                Ok((udmabuf::create_unbacked(node, size_bytes)?, None))
            }
            (Node::Udmabuf(node, _), Purpose::Export) => {
                Ok((udmabuf::create_backed(node, size_bytes, pages)?.0, None))
            }
            (Node::Memfd(_), Purpose::Fill) => {
                memfd::create_backed(size_bytes, pages).map(with_memory)
            }
            (Node::Memfd(_), Purpose::Export) => Ok((memfd::create_unbacked(size_bytes)?, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_without_huge_pages_has_base_pages_alone() {
        let memfd = || Heap::memfd(HugePageSupport::probe());
        let heap = Heap { no_huge_pages: Some("because".into()), ..memfd() };
        assert_eq!(heap.page_kinds(32 << 20), [Some(PageKind::Base)]);
        assert_eq!((heap.has_huge_pages(), memfd().has_huge_pages()), (Some(false), Some(true)));
        let heap = Heap { kind: HeapKind::DmaHeap, ..memfd() };
        assert_eq!(heap.has_huge_pages(), None);
    }

    #[test]
    fn a_memfd_buffer_is_zero_and_not_shareable() {
        let name = BufferName::new("b", "").unwrap();
        let heap = Heap::memfd(HugePageSupport::probe());
        for purpose in [Purpose::Export, Purpose::Fill] {
            let buffer = heap.allocate(8192, None, &name, purpose).unwrap().buffer;
            assert!(!buffer.device_shareable);
            let mut bytes = vec![1; 8192];
            rustix::io::pread(&buffer.fd, bytes.as_mut_slice(), 0).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0));
        }
    }
}
