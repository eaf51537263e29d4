// SPDX-License-Identifier: Apache-2.0
//! Heaps: what the machine has, and allocation from them by name.

mod backing;
mod dma_heap;
mod kept;
mod memfd;
mod udmabuf;

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use dmabuf_uapi::memfd::create_sealed;
use dmabuf_uapi::{dma_buf, page_size_bytes, Errno};
use smallvec::{smallvec, SmallVec};

use crate::buffer::Buffer;
use crate::error::{EngineError, Result};

pub(crate) use backing::Backing;
pub use backing::PageKind;
pub(crate) use kept::Kept;

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

/// One heap of the machine, opened once.
#[derive(Debug)]
pub struct Heap {
    /// The name to ask for.
    pub name: Arc<str>,
    /// What stands behind it.
    pub kind: HeapKind,
    /// The largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    node: Option<OwnedFd>,
}

impl Heap {
    /// Whether its buffers are dma-bufs.
    pub fn device_shareable(&self) -> bool {
        self.kind != HeapKind::Memfd
    }

    /// All the kinds of page that buffers of this heap can be made of, cheapest first, whether or not the kernel has any; the
    /// last is the one that it always has. `None` stands for what the kernel's heap does by itself.
    pub(crate) fn all_page_kinds(&self) -> &'static [Option<PageKind>] {
        match self.kind {
            HeapKind::DmaHeap => &[None],
            HeapKind::Udmabuf => {
                &[Some(PageKind::Hugetlb), Some(PageKind::Transparent), Some(PageKind::Base)]
            }
            // Of exactly the size asked for.
            HeapKind::Memfd => &[Some(PageKind::Transparent), Some(PageKind::Base)],
        }
    }

    /// The kinds of page that a buffer of this heap may be made of where the engine chooses them, cheapest first; `None`
    /// stands for what the kernel's heap does by itself.
    pub(crate) fn page_kinds(&self, size_bytes: u64) -> SmallVec<[Option<PageKind>; 3]> {
        match self.kind {
            HeapKind::DmaHeap => smallvec![None],
            HeapKind::Udmabuf | HeapKind::Memfd => {
                // Small requests need not wait for the answer.
                let available = if backing::may_be_huge(size_bytes) {
                    backing::HugePages::available()
                } else {
                    backing::HugePages::default()
                };
                let kinds = PageKind::candidates(size_bytes, available).into_iter().map(Some);
                kinds.filter(|pages| self.all_page_kinds().contains(pages)).collect()
            }
        }
    }

    fn create(
        &self,
        size_bytes: u64,
        pages: Option<PageKind>,
        purpose: Purpose,
    ) -> dmabuf_uapi::Result<(OwnedFd, Option<Backing>)> {
        let pages = pages.unwrap_or(PageKind::Base);
        match (self.kind, &self.node) {
            (HeapKind::DmaHeap, Some(node)) => {
                Ok((dmabuf_uapi::dma_heap::allocate(node, size_bytes)?, None))
            }
            (HeapKind::Udmabuf, Some(node)) => match (purpose, pages) {
                (Purpose::HandOver, PageKind::Base) => {
                    Ok((udmabuf::create_unbacked(node, size_bytes)?, None))
                }
                (Purpose::HandOver, pages) => {
                    Ok((udmabuf::create_backed(node, size_bytes, pages)?.0, None))
                }
                (Purpose::Fill, pages) => udmabuf::create_backed(node, size_bytes, pages)
                    .map(|(fd, backing)| (fd, Some(backing))),
            },
            (HeapKind::Memfd, _) => match purpose {
                Purpose::HandOver => Ok((create_sealed(c"dmabuf-loader", size_bytes)?, None)),
                Purpose::Fill => {
                    let backing = Backing::create(size_bytes, pages)?;
                    let fd = rustix::io::fcntl_dupfd_cloexec(backing.memfd(), 0)?;
                    Ok((fd, Some(backing)))
                }
            },
            (HeapKind::DmaHeap | HeapKind::Udmabuf, None) => Err(Errno::NODEV),
        }
    }

    /// Allocates a zeroed buffer of `size_bytes`, which must be whole pages and within the heap's limit, of these pages.
    ///
    /// # Errors
    /// [`EngineError::NoMemory`] with the kernel's answer.
    pub(crate) fn allocate_of(
        &self,
        size_bytes: u64,
        pages: Option<PageKind>,
        name: &BufferName,
        purpose: Purpose,
    ) -> Result<Allocated> {
        let (fd, backing) = self
            .create(size_bytes, pages, purpose)
            .map_err(|errno| self.no_memory(size_bytes, errno))?;
        if self.device_shareable() {
            name.give_to(&fd);
        }
        let buffer = Buffer {
            fd,
            size_bytes,
            heap: self.name.to_string(),
            device_shareable: self.device_shareable(),
        };
        Ok(Allocated { buffer, backing, pages, is_zero: true, kept: None })
    }

    fn no_memory(&self, size_bytes: u64, errno: Errno) -> EngineError {
        EngineError::NoMemory { heap: self.name.to_string(), size_bytes, errno }
    }
}

/// What happens to a buffer next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// It goes to the client as it is.
    HandOver,
    /// The engine fills it first.
    Fill,
}

/// A new buffer, and the memory behind it where the engine can fill that directly. Dropped before the buffer is handed
/// over, the memory is the buffer's alone.
#[derive(Debug)]
pub(crate) struct Allocated {
    pub(crate) buffer: Buffer,
    pub(crate) backing: Option<Backing>,
    /// The pages, where the engine chose them.
    pub(crate) pages: Option<PageKind>,
    /// Whether its bytes are zero; else they are those of an earlier load.
    pub(crate) is_zero: bool,
    /// Where the pool has it already, the pool's own fd.
    pub(crate) kept: Option<Kept>,
}

/// A name for a buffer, of a length that the kernel takes: its bytes, and NULs up to the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BufferName([u8; dma_buf::MAX_NAME_BYTES + 1]);

impl BufferName {
    /// Names a dma-buf. The name only helps debugging, so a kernel that refuses it fails nothing.
    pub(crate) fn give_to(&self, buffer: impl AsFd) {
        if let Err(errno) = dma_buf::set_name(buffer, self.as_c_str()) {
            log::warn!("naming a buffer {self:?} failed: {errno}");
        }
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }

    /// Checks a requested name; empty means `default`.
    ///
    /// # Errors
    /// [`EngineError::BadArgument`] for a name over 31 bytes or with a NUL.
    pub fn new(requested: &str, default: &str) -> Result<Self> {
        let name = if requested.is_empty() { default } else { requested };
        if name.len() > dma_buf::MAX_NAME_BYTES {
            return Err(EngineError::bad_argument(
                "name",
                format!(
                    "has {} bytes, at most {} are possible",
                    name.len(),
                    dma_buf::MAX_NAME_BYTES
                ),
            ));
        }
        if name.contains('\0') {
            return Err(EngineError::bad_argument("name", "holds a NUL byte"));
        }
        let mut bytes = [0; dma_buf::MAX_NAME_BYTES + 1];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self(bytes))
    }
}

impl fmt::Debug for BufferName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_c_str().fmt(formatter)
    }
}

/// The heaps of the machine, best first.
#[derive(Debug)]
pub struct Heaps(Vec<Heap>);

impl Heaps {
    /// Opens every heap this process may use: the system heap first, then the other DMA-BUF heaps by name, then udmabuf,
    /// then memfd where `allow_memfd` says so.
    ///
    /// `max_buffer_bytes` caps each heap's own limit.
    pub fn discover(max_buffer_bytes: u64, allow_memfd: bool) -> Self {
        let mut heaps = dma_heap::discover();
        heaps.extend(udmabuf::discover());
        if allow_memfd {
            heaps.push(memfd::heap());
        }
        for heap in &mut heaps {
            heap.max_buffer_bytes = heap.max_buffer_bytes.min(max_buffer_bytes);
        }
        Self(heaps)
    }

    /// The heap of that name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Heap> {
        self.0.iter().find(|heap| *heap.name == *name)
    }

    /// All of them.
    pub fn all(&self) -> &[Heap] {
        &self.0
    }

    /// The heaps that may serve a request: the one of that name, or for an empty name all that can hold `size_bytes`.
    ///
    /// # Errors
    /// As for [`Heaps::choose`].
    pub(crate) fn suitable(&self, name: &str, size_bytes: u64) -> Result<SmallVec<[&Heap; 4]>> {
        let first = self.choose(name, size_bytes)?;
        if !name.is_empty() {
            return Ok(smallvec![first]);
        }
        Ok(self.0.iter().filter(|heap| size_bytes <= heap.max_buffer_bytes).collect())
    }

    /// The heap of that name, or for an empty name the first that can hold `size_bytes`.
    ///
    /// # Errors
    /// [`EngineError::HeapUnknown`]; [`EngineError::BadArgument`] where the size is over the limit.
    pub fn choose(&self, name: &str, size_bytes: u64) -> Result<&Heap> {
        if name.is_empty() {
            let fits = |heap: &&Heap| size_bytes <= heap.max_buffer_bytes;
            return self.0.iter().find(fits).ok_or_else(|| match self.max_buffer_bytes() {
                Some(limit) => too_large("every heap", size_bytes, limit),
                None => EngineError::HeapUnknown { name: name.to_owned(), known: self.names() },
            });
        }
        let heap = self.by_name(name).ok_or_else(|| EngineError::HeapUnknown {
            name: name.to_owned(),
            known: self.names(),
        })?;
        if size_bytes > heap.max_buffer_bytes {
            return Err(too_large(name, size_bytes, heap.max_buffer_bytes));
        }
        Ok(heap)
    }

    fn max_buffer_bytes(&self) -> Option<u64> {
        self.0.iter().map(|heap| heap.max_buffer_bytes).max()
    }

    fn names(&self) -> String {
        if self.0.is_empty() {
            return "none".to_owned();
        }
        self.0.iter().map(|heap| &*heap.name).collect::<Vec<_>>().join(", ")
    }
}

fn too_large(heap: &str, size_bytes: u64, limit_bytes: u64) -> EngineError {
    EngineError::bad_argument(
        "sizeBytes",
        format!("{size_bytes} bytes is over the limit of {heap}, {limit_bytes} bytes"),
    )
}

/// Rounds a size up to whole pages.
///
/// # Errors
/// [`EngineError::BadArgument`] for 0 and for sizes that do not fit.
pub fn round_to_pages(size_bytes: u64) -> Result<u64> {
    let page = page_size_bytes() as u64;
    match size_bytes.checked_next_multiple_of(page) {
        _ if size_bytes == 0 => {
            Err(EngineError::bad_argument("sizeBytes", "is 0, a buffer has at least 1 byte"))
        }
        Some(rounded) if i64::try_from(rounded).is_ok() => Ok(rounded),
        _ => Err(EngineError::bad_argument("sizeBytes", format!("{size_bytes} is too large"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memfd_only(max_buffer_bytes: u64) -> Heaps {
        Heaps(vec![Heap { max_buffer_bytes, ..memfd::heap() }])
    }

    #[test]
    fn sizes_round_up_to_pages() {
        let page = page_size_bytes() as u64;
        assert_eq!(round_to_pages(1), Ok(page));
        assert_eq!(round_to_pages(page), Ok(page));
        assert_eq!(round_to_pages(page + 1), Ok(2 * page));
    }

    #[test]
    fn impossible_sizes_name_the_argument() {
        for size_bytes in [0, u64::MAX, i64::MAX as u64] {
            let error = round_to_pages(size_bytes).unwrap_err();
            assert!(error.to_string().starts_with("sizeBytes: "), "{error}");
        }
    }

    #[test]
    fn a_heap_is_found_by_its_exact_name_only() {
        let heaps = memfd_only(1 << 20);
        assert_eq!(&*heaps.choose("memfd", 4096).unwrap().name, "memfd");
        assert_eq!(&*heaps.choose("", 4096).unwrap().name, "memfd");
        for name in ["mem", "../memfd", "MEMFD", "system"] {
            let error = heaps.choose(name, 4096).unwrap_err();
            assert!(matches!(error, EngineError::HeapUnknown { .. }), "{error}");
        }
    }

    #[test]
    fn a_size_over_the_limit_is_refused_before_allocation() {
        let heaps = memfd_only(8192);
        for name in ["", "memfd"] {
            let error = heaps.choose(name, 12288).unwrap_err();
            assert!(error.to_string().contains("over the limit"), "{error}");
        }
    }

    #[test]
    fn names_are_limited_to_31_bytes() {
        assert!(BufferName::new(&"n".repeat(31), "d").is_ok());
        assert!(BufferName::new(&"n".repeat(32), "d").is_err());
        assert!(BufferName::new("a\0b", "d").is_err());
        assert_eq!(format!("{:?}", BufferName::new("ab", "d")), "Ok(\"ab\")");
        assert_eq!(BufferName::new("", "d"), BufferName::new("d", ""));
    }

    #[test]
    fn a_memfd_buffer_is_zero_and_not_shareable() {
        let name = BufferName::new("b", "").unwrap();
        let allocated = memfd::heap().allocate_of(8192, None, &name, Purpose::HandOver).unwrap();
        let buffer = allocated.buffer;
        assert!(!buffer.device_shareable);
        let mut bytes = vec![1; 8192];
        rustix::io::pread(&buffer.fd, bytes.as_mut_slice(), 0).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
}
