// SPDX-License-Identifier: Apache-2.0
//! Tests of getHeaps() and getCapabilities().

use std::collections::HashSet;

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{HeapKind::HeapKind, LoadPath::LoadPath};

use crate::client::{Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("the_system_heap_comes_first_and_is_shareable", the_system_heap_comes_first),
    ("heaps_have_unique_names_and_limits", heaps_have_unique_names_and_limits),
    ("a_device_offers_no_bare_memfd", a_device_offers_no_bare_memfd),
    ("capabilities_cover_every_path_of_every_heap", capabilities_cover_every_path),
];

fn the_system_heap_comes_first(client: &Client) -> Result<()> {
    let heap = client.heaps()?.into_iter().next().context("no heap")?;
    ensure!(heap.name == "system" && heap.kind == HeapKind::DMABUF, "{heap:?}");
    ensure!(heap.deviceShareable, "{heap:?}");
    Ok(())
}

fn heaps_have_unique_names_and_limits(client: &Client) -> Result<()> {
    let heaps = client.heaps()?;
    let names: HashSet<&str> = heaps.iter().map(|heap| heap.name.as_str()).collect();
    ensure!(names.len() == heaps.len(), "{heaps:?}");
    ensure!(heaps.iter().all(|heap| heap.maxBufferBytes >= 1 << 20), "{heaps:?}");
    Ok(())
}

fn a_device_offers_no_bare_memfd(client: &Client) -> Result<()> {
    let heaps = client.heaps()?;
    ensure!(heaps.iter().all(|heap| heap.kind != HeapKind::MEMFD), "{heaps:?}");
    Ok(())
}

fn capabilities_cover_every_path(client: &Client) -> Result<()> {
    let capabilities = client.loader.capabilities()?;
    ensure!(capabilities.maxSegments >= 1024, "{capabilities:?}");
    ensure!(capabilities.maxFiles >= 16, "{capabilities:?}");
    ensure!(capabilities.pageBytes == dmabuf_uapi::page_size_bytes() as i64, "{capabilities:?}");
    for heap in client.heaps()? {
        for path in LoadPath::enum_values() {
            let entries = capabilities.paths.iter();
            let found: Vec<_> =
                entries.filter(|entry| entry.heap == heap.name && entry.path == path).collect();
            ensure!(found.len() == 1, "{} entries for {path:?} of {}", found.len(), heap.name);
            ensure!(!found[0].detail.is_empty(), "{:?}", found[0]);
            let always = [LoadPath::BUFFERED, LoadPath::BOUNCE].contains(&path);
            ensure!(!always || found[0].supported, "{:?}", found[0]);
        }
    }
    let again = client.loader.capabilities()?;
    ensure!(format!("{capabilities:?}") == format!("{again:?}"), "{capabilities:?} then {again:?}");
    Ok(())
}
