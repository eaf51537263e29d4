// SPDX-License-Identifier: Apache-2.0
//! The heaps of the machine, and which of them may serve a request.

use std::sync::Arc;

use dmabuf_uapi::{kernel, page_size_bytes};

use super::dma_heap::SYSTEM_HEAP;
use super::huge_pages::HugePageSupport;
use super::page_holding::can_be_held;
use super::{dma_heap, udmabuf, Heap, HeapKind, HugeUdmabufs};
use crate::buffer::{Allocated, BufferView};
use crate::error::{Argument, EngineError, Result};

/// How much of a name that a client made up an error repeats.
const MAX_ECHOED_BYTES: usize = 64;

/// What the device's configuration says about heaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapConfig {
    /// The heaps that may serve a request that names none, in this order. Empty stands for the
    /// system heap, then udmabuf.
    pub any_heap: Vec<String>,
    /// Whether udmabufs are made of huge pages.
    pub huge_udmabufs: HugeUdmabufs,
}

/// The heaps of the machine: those that may serve a request that names none come first, in the
/// order in which it tries them, then the rest by name.
#[derive(Debug)]
pub struct Heaps(Vec<Heap>);

impl Heaps {
    /// Opens every heap this process may use, and a bare memfd where `allow_memfd` says so.
    ///
    /// `max_buffer_bytes` caps each heap's own limit. `copies_files` tries `copy_file_range(2)`
    /// from a file on a buffer.
    pub(crate) fn discover(
        config: &HeapConfig,
        max_buffer_bytes: u64,
        allow_memfd: bool,
        copies_files: impl Fn(&BufferView<'_>) -> bool,
    ) -> Self {
        let support = HugePageSupport::probe();
        let mut heaps: Vec<Heap> = dma_heap::discover()
            .into_iter()
            .map(|(name, node)| Heap::dma_heap(&name, node))
            .collect();
        heaps.extend(udmabuf::discover().map(|node| Heap::udmabuf(node, support)));
        if allow_memfd {
            heaps.push(Heap::memfd(support));
        }
        for heap in &mut heaps {
            heap.max_buffer_bytes = heap.max_buffer_bytes.min(max_buffer_bytes);
            probe(heap, config.huge_udmabufs, &copies_files);
        }
        let heaps = Self::in_order(heaps, &config.any_heap);
        for name in config.any_heap.iter().filter(|name| heaps.by_name(name).is_none()) {
            log::warn!("heap {name} is not usable, but is to serve requests that name no heap");
        }
        if !heaps.0.iter().any(|heap| heap.serves_any) {
            log::warn!("no heap serves requests that name none");
        }
        heaps
    }

    fn in_order(mut heaps: Vec<Heap>, any_heap: &[String]) -> Self {
        let place = |heap: &Heap| match any_heap {
            [] => match heap.kind {
                HeapKind::DmaHeap => (*heap.name == *SYSTEM_HEAP).then_some(0),
                HeapKind::Udmabuf => Some(1),
                HeapKind::Memfd => Some(2),
            },
            names => names.iter().position(|name| *name == *heap.name),
        };
        for heap in &mut heaps {
            heap.serves_any = place(heap).is_some();
        }
        heaps.sort_by_key(|heap| (place(heap).unwrap_or(usize::MAX), Arc::clone(&heap.name)));
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

    /// The heaps that may serve a request: the one of that name, or for an empty name all that can
    /// hold `size_bytes`; at least one.
    ///
    /// # Errors
    /// [`EngineError::HeapUnknown`]; [`EngineError::BadArgument`] where the size is over the limit.
    pub(crate) fn suitable(&self, name: &str, size_bytes: u64) -> Result<Vec<&Heap>> {
        let named: Vec<&Heap> = match name {
            "" => self.0.iter().filter(|heap| heap.serves_any).collect(),
            name => self.by_name(name).into_iter().collect(),
        };
        let limit_bytes = named.iter().map(|heap| heap.max_buffer_bytes).max();
        let Some(limit_bytes) = limit_bytes else {
            let name = excerpt(name, MAX_ECHOED_BYTES).to_owned();
            return Err(EngineError::HeapUnknown { name, known: self.names() });
        };
        if size_bytes > limit_bytes {
            let whose = if name.is_empty() { "every heap" } else { name };
            return Err(EngineError::bad_argument(
                Argument::NewBufferSize,
                format!("{size_bytes} bytes is over the limit of {whose}, {limit_bytes} bytes"),
            ));
        }
        Ok(named.into_iter().filter(|heap| size_bytes <= heap.max_buffer_bytes).collect())
    }

    fn names(&self) -> String {
        if self.0.is_empty() {
            return "none".to_owned();
        }
        self.0.iter().map(|heap| &*heap.name).collect::<Vec<_>>().join(", ")
    }
}

/// Finds out by a buffer of one page what the kernel does with buffers of a heap.
fn probe(heap: &mut Heap, huge: HugeUdmabufs, copies_files: impl Fn(&BufferView<'_>) -> bool) {
    let sample = heap.sample();
    let sample = sample.as_ref().map(Allocated::view);
    heap.pages_can_be_held = sample.as_ref().map_or(true, can_be_held);
    if heap.pages_can_be_held && heap.kind != HeapKind::Memfd {
        let name = &heap.name;
        log::info!("heap {name}: clients can hold pages of buffers, which none other gets then");
    }
    if heap.kind == HeapKind::Udmabuf {
        let has_series = sample.as_ref().is_ok_and(copies_files);
        heap.no_huge_pages = huge.decide(&kernel::release(), has_series).err();
    }
}

/// The first characters of a text, at most so many bytes.
fn excerpt(text: &str, max_bytes: usize) -> &str {
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
    let end = ends.take_while(|end| *end <= max_bytes).last().unwrap_or(0);
    &text[..end]
}

/// Rounds a size up to whole pages.
///
/// # Errors
/// [`EngineError::BadArgument`] for 0 and for sizes that do not fit.
pub(crate) fn round_to_pages(size_bytes: u64) -> Result<u64> {
    let page = page_size_bytes() as u64;
    let bad = |problem: String| Err(EngineError::bad_argument(Argument::NewBufferSize, problem));
    match size_bytes.checked_next_multiple_of(page) {
        _ if size_bytes == 0 => bad("is 0, a buffer has at least 1 byte".to_owned()),
        Some(rounded) if i64::try_from(rounded).is_ok() => Ok(rounded),
        _ => bad(format!("{size_bytes} is too large")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memfd_only(max_buffer_bytes: u64) -> Heaps {
        Heaps(vec![Heap { max_buffer_bytes, ..Heap::memfd(HugePageSupport::probe()) }])
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
            let argument = Argument::NewBufferSize;
            assert!(
                matches!(&error, EngineError::BadArgument { argument: a, .. } if *a == argument)
            );
        }
    }

    #[test]
    fn a_heap_is_found_by_its_exact_name_only() {
        let heaps = memfd_only(1 << 20);
        for name in ["memfd", ""] {
            assert_eq!(&*heaps.suitable(name, 4096).unwrap()[0].name, "memfd");
        }
        for name in ["mem", "../memfd", "MEMFD", "system"] {
            let error = heaps.suitable(name, 4096).unwrap_err();
            assert!(matches!(error, EngineError::HeapUnknown { .. }), "{error}");
        }
    }

    /// Heaps of these names, over memfds.
    fn in_order(names: &[&str], any_heap: &[&str]) -> Heaps {
        let heap = |name: &&str| {
            let kind = match *name {
                "udmabuf" => HeapKind::Udmabuf,
                "memfd" => HeapKind::Memfd,
                _ => HeapKind::DmaHeap,
            };
            Heap { name: (*name).into(), kind, ..Heap::memfd(HugePageSupport::probe()) }
        };
        let any_heap: Vec<String> = any_heap.iter().map(|name| (*name).to_owned()).collect();
        Heaps::in_order(names.iter().map(heap).collect(), &any_heap)
    }

    fn names<'a>(heaps: impl IntoIterator<Item = &'a Heap>) -> Vec<&'a str> {
        heaps.into_iter().map(|heap| &*heap.name).collect()
    }

    const FOUND: [&str; 6] =
        ["vframe", "linux,cma", "udmabuf", "system-uncached", "system", "memfd"];

    #[test]
    fn only_known_heaps_serve_a_request_without_a_name() {
        let heaps = in_order(&FOUND, &[]);
        let any = ["system", "udmabuf", "memfd"];
        assert_eq!(names(heaps.suitable("", 4096).unwrap()), any);
        let all = [&any[..], &["linux,cma", "system-uncached", "vframe"]].concat();
        assert_eq!(names(heaps.all()), all);
        for name in FOUND {
            assert_eq!(names(heaps.suitable(name, 4096).unwrap()), [name]);
        }
        let vendor = in_order(&["vframe", "qcom,system"], &[]);
        let error = vendor.suitable("", 4096).unwrap_err();
        assert!(matches!(error, EngineError::HeapUnknown { .. }), "{error}");
    }

    #[test]
    fn the_configuration_lists_the_heaps_for_any_request() {
        let heaps = in_order(&FOUND, &["vframe", "missing", "system"]);
        assert_eq!(names(heaps.suitable("", 4096).unwrap()), ["vframe", "system"]);
        let rest = ["linux,cma", "memfd", "system-uncached", "udmabuf"];
        assert_eq!(names(heaps.all()), [&["vframe", "system"][..], &rest].concat());
        assert_eq!(names(heaps.suitable("udmabuf", 4096).unwrap()), ["udmabuf"]);
    }

    #[test]
    fn an_unknown_name_is_repeated_in_part() {
        let heaps = memfd_only(1 << 20);
        let error = heaps.suitable(&"é".repeat(1 << 20), 4096).unwrap_err().to_string();
        assert!(error.contains(&"é".repeat(32)) && error.len() < 200, "{error}");
        assert_eq!(excerpt("aé", 2), "a");
        assert_eq!(excerpt("", 2), "");
    }

    #[test]
    fn a_size_over_the_limit_is_refused_before_allocation() {
        let heaps = memfd_only(8192);
        for name in ["", "memfd"] {
            let error = heaps.suitable(name, 12288).unwrap_err();
            assert!(error.to_string().contains("over the limit"), "{error}");
        }
    }

    #[test]
    fn a_machine_without_heaps_says_so() {
        let error = Heaps(Vec::new()).suitable("", 4096).unwrap_err();
        assert!(error.to_string().ends_with("there are none"), "{error}");
    }
}
