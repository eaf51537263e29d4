// SPDX-License-Identifier: Apache-2.0
//! Tests of getHeaps() and getCapabilities().

use std::collections::HashSet;

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{HeapFact::HeapFact, HeapKind::HeapKind, LoadPath::LoadPath};
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::Files;

use crate::client::{sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("the_system_heap_comes_first_and_is_shareable", the_system_heap_comes_first),
    ("heaps_have_unique_names_and_limits", heaps_have_unique_names_and_limits),
    ("a_device_offers_no_bare_memfd", a_device_offers_no_bare_memfd),
    ("heaps_that_serve_any_request_come_first", heaps_that_serve_any_request_come_first),
    ("no_other_heap_serves_an_unnamed_request", no_other_heap_serves_an_unnamed_request),
    ("documented_heaps_have_known_facts", documented_heaps_have_known_facts),
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

fn heaps_that_serve_any_request_come_first(client: &Client) -> Result<()> {
    let heaps = client.heaps()?;
    ensure!(heaps.is_sorted_by_key(|heap| !heap.servesAnyHeap), "{heaps:?}");
    ensure!(heaps.iter().any(|heap| heap.servesAnyHeap), "{heaps:?}");
    Ok(())
}

fn no_other_heap_serves_an_unnamed_request(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let heaps = client.heaps()?;
    let serves_any = |name: &str| heaps.iter().any(|heap| heap.name == name && heap.servesAnyHeap);
    for size in [4096, 3 << 20] {
        let allocated = client.loader.allocate(&sized_buffer("", size))?;
        ensure!(serves_any(&allocated.heap), "allocated from {}", allocated.heap);
        let file = files.patterned("f", 1, size as u64)?;
        let source = open_for_load(file.path())?;
        let loaded = client.load(LoadSpec::whole_file(&source)?)?.buffer.context("no buffer")?;
        ensure!(serves_any(&loaded.heap), "loaded into {}", loaded.heap);
    }
    // A heap that does not serve any request still serves those that name it.
    for heap in heaps.iter().filter(|heap| heap.cpuProtected != HeapFact::YES) {
        let allocated = client.loader.allocate(&sized_buffer(&heap.name, 4096));
        ensure!(allocated.with_context(|| heap.name.clone())?.heap == heap.name);
    }
    Ok(())
}

fn documented_heaps_have_known_facts(client: &Client) -> Result<()> {
    for heap in client.heaps()? {
        let facts = (heap.cpuCached, heap.contiguous, heap.cpuProtected);
        if ["system", "udmabuf"].contains(&heap.name.as_str()) {
            ensure!(facts == (HeapFact::YES, HeapFact::NO, HeapFact::NO), "{heap:?}");
        }
        let is_known = [HeapFact::YES, HeapFact::NO].contains(&heap.hugePages);
        ensure!(is_known == (heap.kind != HeapKind::DMABUF), "{heap:?}");
    }
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
