// SPDX-License-Identifier: Apache-2.0
//! What the kernel can do with the buffers of each heap, found out by trying it once.

use crate::buffer::BufferKind;
use crate::heap::{Heap, Heaps};
use crate::io_path::{PathName, Support};
use crate::path;

/// Whether a path works for a heap's buffers.
#[derive(Clone, Debug)]
pub struct HeapPath {
    /// The heap's name.
    pub heap: String,
    /// The path.
    pub path: PathName,
    /// What was found.
    pub support: Support,
}

/// Every path of every heap.
#[derive(Debug)]
pub(crate) struct Capabilities(Vec<HeapPath>);

impl Capabilities {
    /// Tries every path on each heap.
    pub(crate) fn probe(heaps: &Heaps) -> Self {
        Self(heaps.all().iter().flat_map(probe_heap).collect())
    }

    /// What was found.
    pub(crate) fn all(&self) -> &[HeapPath] {
        &self.0
    }

    /// `copy_file_range(2)` with buffers of a heap.
    pub(crate) fn copy_file_range(&self, heap: &str) -> Support {
        let is_it = |entry: &&HeapPath| entry.path == PathName::CopyFileRange && entry.heap == heap;
        self.0.iter().find(is_it).map_or_else(
            || Support { supported: true, detail: "not probed for this exporter".into() },
            |entry| entry.support.clone(),
        )
    }

    /// `copy_file_range(2)` with a client's buffer, whose exporter is not known: as with the first
    /// heap of its kind, and the attempt decides.
    pub(crate) fn copy_file_range_of_client(&self, heaps: &Heaps, kind: BufferKind) -> Support {
        let is_dma_buf = kind == BufferKind::DmaBuf;
        let same_kind = |heap: &&Heap| heap.kind.device_shareable() == is_dma_buf;
        let heap = heaps.all().iter().find(same_kind);
        self.copy_file_range(heap.map_or("", |heap| &heap.name))
    }
}

fn probe_heap(heap: &Heap) -> Vec<HeapPath> {
    let sample = heap.sample();
    PathName::ALL
        .into_iter()
        .map(|path| {
            let mut support = match &sample {
                Ok(allocated) => path::probe(path, &allocated.view()),
                Err(error) => Support { supported: false, detail: error.to_string().into() },
            };
            if let (PathName::UdmabufDirect, Some(why)) = (path, &heap.no_huge_pages) {
                support.detail = format!("{}; {why}", support.detail).into();
            }
            log::info!("heap {}, {path}: {}", heap.name, support.detail);
            HeapPath { heap: heap.name.to_string(), path, support }
        })
        .collect()
}
