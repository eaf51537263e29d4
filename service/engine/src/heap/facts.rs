// SPDX-License-Identifier: Apache-2.0
//! What is known about the memory of a heap. The kernel does not say it; the documented names of
//! heaps do.
//!
//! Source: `Documentation/userspace-api/dma-buf-heaps.rst` of Linux; the names of Android's
//! libdmabufheap.

use super::kind::HeapKind;

/// What is known about the memory of a heap; `None` where nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapFacts {
    /// Whether mappings of its buffers are cached by the CPU.
    pub cached: Option<bool>,
    /// Whether its buffers are contiguous in physical memory.
    pub contiguous: Option<bool>,
    /// Whether its memory is kept from the CPU.
    pub protected: Option<bool>,
}

/// The memory of ordinary pages.
const PAGES: HeapFacts =
    HeapFacts { cached: Some(true), contiguous: Some(false), protected: Some(false) };

/// Names that the kernel gives to the heap of its default CMA region.
const CMA_NAMES: [&str; 4] = ["default_cma_region", "reserved", "linux,cma", "default-pool"];

impl HeapFacts {
    /// What is known about a heap of this kind and name.
    pub(super) fn of(kind: HeapKind, name: &str) -> Self {
        let nothing = Self::default();
        match (kind, name) {
            (HeapKind::Udmabuf | HeapKind::Memfd, _) | (_, "system") => PAGES,
            (_, "system_cc_shared") => Self { cached: None, ..PAGES },
            (_, name) if CMA_NAMES.contains(&name) => Self { contiguous: Some(true), ..PAGES },
            (_, "system-uncached") => Self { cached: Some(false), ..PAGES },
            (_, name) if name.ends_with("-uncached") => Self { cached: Some(false), ..nothing },
            (_, name) if name.starts_with("system-secure") => {
                Self { protected: Some(true), ..nothing }
            }
            _ => nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_names_tell_about_the_memory() {
        let of = |name| HeapFacts::of(HeapKind::DmaHeap, name);
        assert_eq!(of("system"), PAGES);
        for name in CMA_NAMES {
            assert_eq!(of(name), HeapFacts { contiguous: Some(true), ..PAGES }, "{name}");
        }
        assert_eq!(of("system-uncached").cached, Some(false));
        assert_eq!(of("system-secure-uncached").cached, Some(false));
        assert_eq!(of("system-secure").protected, Some(true));
        assert_eq!(of("system_cc_shared").protected, Some(false));
        assert_eq!(HeapFacts::of(HeapKind::Udmabuf, "udmabuf"), PAGES);
    }

    #[test]
    fn a_vendors_name_tells_nothing() {
        for name in ["qcom,display", "vframe", "faceauth_tpu", "secured", "uncached", ""] {
            assert_eq!(HeapFacts::of(HeapKind::DmaHeap, name), HeapFacts::default(), "{name}");
        }
        let uncached = HeapFacts::of(HeapKind::DmaHeap, "mtk_mm-uncached");
        assert_eq!(uncached, HeapFacts { cached: Some(false), ..HeapFacts::default() });
    }
}
