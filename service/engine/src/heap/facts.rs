// SPDX-License-Identifier: Apache-2.0
//! What is known about the memory of a heap. The kernel does not say it; the documented names of
//! heaps do.
//!
//! Source: `Documentation/userspace-api/dma-buf-heaps.rst` of Linux; the names of Android's
//! libdmabufheap.

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

/// Names that the kernel gives to the heap of its default CMA region.
const CMA_NAMES: [&str; 4] = ["default_cma_region", "reserved", "linux,cma", "default-pool"];

impl HeapFacts {
    /// Ordinary pages, as those of a memfd.
    pub(super) const PAGES: Self =
        Self { cached: Some(true), contiguous: Some(false), protected: Some(false) };

    /// What the name of a node of `/dev/dma_heap` tells.
    pub(super) fn of_node(name: &str) -> Self {
        let nothing = Self::default();
        match name {
            "system" => Self::PAGES,
            "system_cc_shared" => Self { cached: None, ..Self::PAGES },
            "system-uncached" => Self { cached: Some(false), ..Self::PAGES },
            _ if CMA_NAMES.contains(&name) => Self { contiguous: Some(true), ..Self::PAGES },
            _ if name.ends_with("-uncached") => Self { cached: Some(false), ..nothing },
            _ if name.starts_with("system-secure") => Self { protected: Some(true), ..nothing },
            _ => nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_names_tell_about_the_memory() {
        let of = HeapFacts::of_node;
        assert_eq!(of("system"), HeapFacts::PAGES);
        for name in CMA_NAMES {
            let expected = HeapFacts { contiguous: Some(true), ..HeapFacts::PAGES };
            assert_eq!(of(name), expected, "{name}");
        }
        assert_eq!(of("system-uncached").cached, Some(false));
        assert_eq!(of("system-secure-uncached").cached, Some(false));
        assert_eq!(of("system-secure").protected, Some(true));
        assert_eq!(of("system_cc_shared").protected, Some(false));
    }

    #[test]
    fn a_vendors_name_tells_nothing() {
        for name in ["qcom,display", "vframe", "faceauth_tpu", "secured", "uncached", ""] {
            assert_eq!(HeapFacts::of_node(name), HeapFacts::default(), "{name}");
        }
        let uncached = HeapFacts::of_node("mtk_mm-uncached");
        assert_eq!(uncached, HeapFacts { cached: Some(false), ..HeapFacts::default() });
    }
}
