// SPDX-License-Identifier: Apache-2.0
//! Tests of the kinds of memory that udmabufs are made of, and of the memory that the engine
//! retains.

use anyhow::{ensure, Context, Result};
use dmabuf_engine::request::Policy;
use dmabuf_engine::{ClientId, HugeUdmabufs, IoPath, PathName, PoolConfig};
use libtest_mimic::Trial;
use vts_support::files::{Files, TestFile};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::assert_same;

use crate::load::{
    allocate, contents, engine, engine_with_huge_udmabufs, load, made, new_buffer, WHOLE,
};

const CLIENT: ClientId = ClientId(1000);
const HUGE_PAGE_BYTES: u64 = dmabuf_uapi::mapping::HUGE_PAGE_BYTES as u64;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("memory", "hugetlb_pages_are_used", hugetlb_pages_are_used),
        trial("memory", "transparent_huge_pages_are_used", transparent_huge_pages_are_used),
        trial(
            "memory",
            "a_dropped_buffer_frees_its_huge_pages",
            a_dropped_buffer_frees_its_huge_pages,
        ),
        trial(
            "memory",
            "base_pages_replace_missing_huge_pages",
            base_pages_replace_missing_huge_pages,
        ),
        trial(
            "memory",
            "bounce_memory_is_retained_reclaimably",
            bounce_memory_is_retained_reclaimably,
        ),
    ]
}

/// Returns a value of /proc/meminfo, without its unit.
pub fn meminfo(key: &str) -> Result<u64> {
    figure("/proc/meminfo", key)
}

/// Returns a value of a file with lines of the form `key: value unit`.
fn figure(file: &str, key: &str) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let word = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(word.with_context(|| format!("no {key} in {file}"))?.parse()?)
}

fn free_huge_pages(at_least: u64) -> Result<u64> {
    let free = meminfo("HugePages_Free")?;
    if free < at_least {
        return Err(skip(format!("{free} huge pages in the pool, {at_least} needed")));
    }
    Ok(free)
}

fn hugetlb_pages_are_used() -> Result<()> {
    let before = free_huge_pages(8)?;
    let files = Files::new()?;
    let size_bytes = 8 * HUGE_PAGE_BYTES - 4096 - 77;
    let file = files.patterned("f", 1, size_bytes)?;
    let policy = Policy::only(PathName::UdmabufDirect);
    let engine = engine_with_huge_udmabufs(HugeUdmabufs::Yes);
    let new = new_buffer("udmabuf", 0);
    let outcome = load(&engine, CLIENT, new, policy, &file.direct()?, &[WHOLE])?;
    let during = meminfo("HugePages_Free")?;
    ensure!(before - during == 8, "{before} free huge pages before, {during} after");
    let path = outcome.report.path();
    ensure!(path == Some(IoPath::UdmabufDirect), "{path:?}");
    let buffer = made(outcome)?;
    ensure!(buffer.size_bytes == size_bytes.next_multiple_of(4096), "{}", buffer.size_bytes);
    let bytes = contents(&buffer)?;
    assert_same(&bytes[..size_bytes as usize], &file.expected(0, size_bytes as usize), "loaded");
    ensure!(bytes[size_bytes as usize..].iter().all(|byte| *byte == 0));
    Ok(())
}

fn a_dropped_buffer_frees_its_huge_pages() -> Result<()> {
    let before = free_huge_pages(4)?;
    let engine = engine_with_huge_udmabufs(HugeUdmabufs::Yes);
    for _ in 0..10 {
        drop(allocate(&engine, CLIENT, &new_buffer("udmabuf", 4 * HUGE_PAGE_BYTES))?);
    }
    let after = meminfo("HugePages_Free")?;
    ensure!(after == before, "{before} free huge pages before, {after} after");
    Ok(())
}

fn base_pages_replace_missing_huge_pages() -> Result<()> {
    let free = free_huge_pages(1)?;
    let engine = engine_with_huge_udmabufs(HugeUdmabufs::Yes);
    let new = new_buffer("udmabuf", (free + 1) * HUGE_PAGE_BYTES);
    let buffer = allocate(&engine, CLIENT, &new)?;
    ensure!(meminfo("HugePages_Free")? == free);
    ensure!(contents(&buffer)?.iter().all(|byte| *byte == 0));
    Ok(())
}

/// Counts the huge pages ever made for files of tmpfs. The kernel updates the number of current
/// ones only after a delay.
pub fn transparent_huge_pages_made() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/vmstat")?;
    let count = text.lines().find_map(|line| line.strip_prefix("thp_file_alloc "));
    Ok(count.context("no thp_file_alloc in /proc/vmstat")?.parse()?)
}

const SHMEM_ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// The system's setting of transparent huge pages for memfds, restored on drop.
pub struct ShmemEnabled {
    before: String,
}

impl ShmemEnabled {
    /// Changes the setting.
    pub fn set(choice: &str) -> Result<Self> {
        let text = std::fs::read_to_string(SHMEM_ENABLED)?;
        let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let before = chosen.with_context(|| format!("{SHMEM_ENABLED}: {text}"))?.0.to_owned();
        std::fs::write(SHMEM_ENABLED, choice)
            .map_err(|error| skip(format!("{SHMEM_ENABLED} cannot be changed: {error}")))?;
        Ok(Self { before })
    }
}

impl Drop for ShmemEnabled {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(SHMEM_ENABLED, &self.before) {
            eprintln!("{SHMEM_ENABLED} cannot be restored to {}: {error}", self.before);
        }
    }
}

/// Loads a size for which hugetlb pages would waste too much memory.
fn transparent_huge_pages_are_used() -> Result<()> {
    if !std::fs::read_to_string(SHMEM_ENABLED)?.contains("[advise]") {
        return Err(skip(format!("{SHMEM_ENABLED} is not [advise]")));
    }
    let files = Files::new()?;
    let size_bytes = 3 * HUGE_PAGE_BYTES + 8192;
    let file = files.patterned("f", 2, size_bytes)?;
    let policy = Policy::only(PathName::UdmabufDirect);
    let engine = engine_with_huge_udmabufs(HugeUdmabufs::Yes);
    let before = transparent_huge_pages_made()?;
    let new = new_buffer("udmabuf", 0);
    let outcome = load(&engine, CLIENT, new, policy, &file.direct()?, &[WHOLE])?;
    let after = transparent_huge_pages_made()?;
    ensure!(after >= before + 3, "{before} made before, {after} after");
    let bytes = contents(&made(outcome)?)?;
    assert_same(&bytes, &file.expected(0, size_bytes as usize), "loaded");
    Ok(())
}

/// Loads one after the other, so that later loads use the memory that earlier ones left, and then
/// several at the same time.
fn bounce_memory_is_retained_reclaimably() -> Result<()> {
    const RETAINED_KIB: u64 = 4096;
    /// A processor may still have some base pages in a list of its own.
    const LISTED_KIB: u64 = 256;
    let files = Files::new()?;
    let file = files.patterned("f", 3, 5 * HUGE_PAGE_BYTES + 77)?;
    let shorter = files.patterned("g", 4, HUGE_PAGE_BYTES + 4096 + 77)?;
    let engine = engine(PoolConfig::OFF);
    let bounce = |file: &TestFile| -> Result<()> {
        let policy = Policy::only(PathName::Bounce);
        let new = new_buffer("system", 0);
        let outcome = load(&engine, CLIENT, new, policy, &file.direct()?, &[WHOLE])?;
        let len_bytes = outcome.segment_bytes.iter().sum::<u64>() as usize;
        let bytes = contents(&made(outcome)?)?;
        assert_same(&bytes[..len_bytes], &file.expected(0, len_bytes), "loaded");
        ensure!(bytes[len_bytes..].iter().all(|byte| *byte == 0), "after the end of the file");
        Ok(())
    };
    for file in [&file, &shorter, &file] {
        bounce(file)?;
    }
    std::thread::scope(|scope| {
        let loads = [(); 4].map(|()| scope.spawn(|| bounce(&file)));
        loads.into_iter().try_for_each(|load| load.join().expect("a load does not panic"))
    })?;
    // Memory that the kernel may reclaim without writing it to disk.
    let retained_kib = figure("/proc/self/smaps_rollup", "LazyFree")?;
    ensure!(
        (RETAINED_KIB - LISTED_KIB..=RETAINED_KIB).contains(&retained_kib),
        "{retained_kib} KiB are LazyFree"
    );
    Ok(())
}
