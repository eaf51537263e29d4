// SPDX-License-Identifier: Apache-2.0
//! Tests that the service makes udmabufs of hugetlb pages, which SELinux must let it map, where it
//! says so, and of none where it says that importers would see wrong bytes.

use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use dmabuf_loader_client::aidl::{HeapFact::HeapFact, LoadPath::LoadPath};
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::Files;
use vts_support::outcome::skip;
use vts_support::wait::wait_until;

use crate::buffer::View;
use crate::client::{new_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] =
    &[("a_udmabuf_has_huge_pages_as_its_heap_says", a_udmabuf_has_huge_pages_as_its_heap_says)];

const HEAP: &str = "udmabuf";
const HUGE_PAGE_BYTES: u64 = 2 << 20;
const PAGES: u64 = 4;

/// Counts the free hugetlb pages; 0 if their size is not 2 MiB.
fn free_pages() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(|error| {
        println!("EXPECT-AVC: proc_meminfo");
        skip(format!("/proc/meminfo: {error}"))
    })?;
    let figure = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let fits = figure("Hugepagesize:") == Some(HUGE_PAGE_BYTES / 1024);
    Ok(figure("HugePages_Free:").filter(|_| fits).unwrap_or(0))
}

fn a_udmabuf_has_huge_pages_as_its_heap_says(client: &Client) -> Result<()> {
    let heap = client.heaps()?.into_iter().find(|heap| heap.name == HEAP);
    let heap = heap.ok_or_else(|| skip("no heap \"udmabuf\""))?;
    let expected = match heap.hugePages {
        HeapFact::YES => PAGES,
        HeapFact::NO => 0,
        fact => bail!("hugePages is {fact:?}"),
    };
    println!("INFO: udmabufs are of huge pages: {}", expected > 0);
    let before = free_pages()?;
    if before < PAGES {
        return Err(skip(format!("the hugetlb pool has {before} free pages of 2 MiB")));
    }
    let size_bytes = PAGES * HUGE_PAGE_BYTES;
    let files = Files::new()?;
    let file = files.patterned("f", 1, size_bytes)?;
    let source = open_for_load(file.path())?;
    let result = client.load(LoadSpec::whole_file(&source)?.into_new(new_buffer(HEAP)))?;
    let during = free_pages()?;
    ensure!(during + expected == before, "{before} pages free before the load, {during} after it");
    // The kernel's copy_file_range(2) is cheaper where it takes such buffers.
    let direct = [LoadPath::UDMABUF_DIRECT, LoadPath::COPY_FILE_RANGE];
    let report = &result.report;
    ensure!(report.direct && direct.contains(&report.path), "{report:?}");
    View::new(result.buffer.as_ref().context("no buffer")?)?.expect(
        0,
        size_bytes,
        |done, len| file.expected(done, len),
    )?;
    drop(result);
    let all_are_back = |free: &u64| *free == before;
    wait_until(Duration::from_secs(5), "the pool has its pages back", free_pages, all_are_back)
}
