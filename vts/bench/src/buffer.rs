// SPDX-License-Identifier: Apache-2.0
//! The buffers of the public series' methods, made by this process as the series makes them,
//! without the engine.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use dmabuf_uapi::dma_buf::{size_if_dma_buf, CpuAccess};
use dmabuf_uapi::mapped_buffer::MappedBuffer;
use dmabuf_uapi::mapping::{Mapping, HUGE_PAGE_BYTES};
use dmabuf_uapi::udmabuf::{self, MemfdRange};
use dmabuf_uapi::{dma_heap, memfd};

use crate::tuning::Pages;

const SYSTEM_HEAP: &str = "/dev/dma_heap/system";
const MEMFD_NAME: &CStr = c"vts-bench";

/// The exporter of a buffer, and which of its fds stay open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// A dma-buf of the system heap.
    SystemHeap,
    /// A dma-buf over a memfd that is closed immediately.
    Udmabuf,
    /// A memfd only.
    Memfd,
    /// A dma-buf over a memfd that stays open and does the I/O.
    UdmabufAndMemfd,
}

/// The device nodes that allocate buffers.
#[derive(Debug)]
pub struct Devices {
    system_heap: OwnedFd,
    udmabuf: OwnedFd,
}

impl Devices {
    /// Opens the device nodes.
    pub fn open() -> Result<Self> {
        Ok(Self {
            system_heap: dma_heap::open_heap(Path::new(SYSTEM_HEAP)).context(SYSTEM_HEAP)?,
            udmabuf: udmabuf::open_device().context(udmabuf::UDMABUF_NODE)?,
        })
    }

    /// Makes a zeroed buffer.
    pub fn create(&self, exporter: Exporter, size_bytes: u64) -> Result<Buffer> {
        let new_memfd = || memfd::create_sealed(MEMFD_NAME, size_bytes).context("memfd_create");
        let (dma_buf, memfd) = match exporter {
            Exporter::SystemHeap => {
                let dma_buf = dma_heap::allocate(&self.system_heap, size_bytes);
                (Some(dma_buf.context("DMA_HEAP_IOCTL_ALLOC")?), None)
            }
            Exporter::Memfd => (None, Some(new_memfd()?)),
            Exporter::Udmabuf => (Some(self.over(&new_memfd()?, size_bytes)?), None),
            Exporter::UdmabufAndMemfd => {
                let memfd = new_memfd()?;
                (Some(self.over(&memfd, size_bytes)?), Some(memfd))
            }
        };
        Ok(Buffer { dma_buf, memfd, size_bytes })
    }

    /// Makes a dma-buf over a memfd that is first filled with zeroed pages of a kind.
    pub fn create_populated(&self, pages: Pages, size_bytes: u64) -> Result<PopulatedBuffer> {
        let memory = PopulatedMemory::new(pages, size_bytes)?;
        let dma_buf = self.over(&memory.memfd, size_bytes)?;
        Ok(PopulatedBuffer { _dma_buf: dma_buf, _memory: memory })
    }

    fn over(&self, memfd: &OwnedFd, size_bytes: u64) -> Result<OwnedFd> {
        let range = MemfdRange { memfd: memfd.as_fd(), offset_bytes: 0, size_bytes };
        udmabuf::create(&self.udmabuf, range).context("UDMABUF_CREATE")
    }
}

/// A buffer; dropping it frees the memory.
#[derive(Debug)]
pub struct Buffer {
    dma_buf: Option<OwnedFd>,
    memfd: Option<OwnedFd>,
    /// The size of the buffer.
    pub size_bytes: u64,
}

impl Buffer {
    /// Makes a buffer that is a memfd only.
    #[cfg(test)]
    pub fn of_memfd(memfd: OwnedFd, size_bytes: u64) -> Self {
        Self { dma_buf: None, memfd: Some(memfd), size_bytes }
    }

    /// Returns the fd for I/O: the memfd if there is one, else the dma-buf.
    pub fn io_fd(&self) -> Result<BorrowedFd<'_>> {
        self.memfd.as_ref().or(self.dma_buf.as_ref()).map(AsFd::as_fd).context("an empty buffer")
    }

    /// Returns the fd for devices: the dma-buf if there is one, else the memfd.
    pub fn shared_fd(&self) -> Result<BorrowedFd<'_>> {
        self.dma_buf.as_ref().or(self.memfd.as_ref()).map(AsFd::as_fd).context("an empty buffer")
    }
}

/// Maps a buffer, a dma-buf or a memfd, and begins CPU access to it.
pub fn map(fd: BorrowedFd<'_>, len_bytes: u64, access: CpuAccess) -> Result<MappedBuffer<'_>> {
    let mapped = match size_if_dma_buf(fd).context("statfs of the buffer")? {
        Some(_) => MappedBuffer::of_dma_buf(fd, 0..len_bytes, access),
        None => MappedBuffer::of_memfd(fd, 0..len_bytes, access),
    };
    mapped.context("mapping the buffer")
}

/// A dma-buf over memory that was populated first and stays mapped.
#[derive(Debug)]
pub struct PopulatedBuffer {
    _dma_buf: OwnedFd,
    _memory: PopulatedMemory,
}

/// Zeroed memory of a memfd, populated and mapped.
#[derive(Debug)]
pub struct PopulatedMemory {
    memfd: OwnedFd,
    /// The mapping of all of it, for reading and writing.
    pub mapping: Mapping,
}

impl PopulatedMemory {
    /// Populates memory of whole pages of a kind, for which the machine must be set up.
    pub fn new(pages: Pages, size_bytes: u64) -> Result<Self> {
        let size_bytes = match pages {
            Pages::Hugetlb => size_bytes.next_multiple_of(HUGE_PAGE_BYTES as u64),
            Pages::Small | Pages::Transparent => size_bytes,
        };
        let memfd = match pages {
            Pages::Hugetlb => memfd::create_sealed_hugetlb(MEMFD_NAME, size_bytes),
            Pages::Small | Pages::Transparent => memfd::create_sealed(MEMFD_NAME, size_bytes),
        };
        let memfd = memfd.context("memfd_create")?;
        let mapping = Mapping::shared_huge_aligned(&memfd, usize::try_from(size_bytes)?)
            .context("mapping the memfd")?;
        if pages == Pages::Transparent {
            mapping.advise_huge_pages();
        }
        mapping.populate().context("MADV_POPULATE_WRITE")?;
        Ok(Self { memfd, mapping })
    }
}
