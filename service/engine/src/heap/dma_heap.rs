// SPDX-License-Identifier: Apache-2.0
//! The DMA-BUF heaps of the kernel.

use std::os::fd::OwnedFd;
use std::path::Path;

use dmabuf_uapi::dma_heap::{open_heap, DMA_HEAP_DIR};

/// The heap of ordinary pages, which every Android device has.
pub(super) const SYSTEM_HEAP: &str = "system";

/// Opens the heaps that this process may open.
pub(super) fn discover() -> Vec<(String, OwnedFd)> {
    let Ok(entries) = Path::new(DMA_HEAP_DIR).read_dir() else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(open).collect()
}

fn open(name: String) -> Option<(String, OwnedFd)> {
    match open_heap(&Path::new(DMA_HEAP_DIR).join(&name)) {
        Ok(node) => Some((name, node)),
        Err(errno) => {
            log::info!("heap {name} is not usable: {errno}");
            None
        }
    }
}
