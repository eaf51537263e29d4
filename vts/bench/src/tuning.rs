// SPDX-License-Identifier: Apache-2.0
//! Settings before a measurement, made as root: an empty page cache, and the kind of pages that
//! memory is made of.

use std::fs;

use anyhow::{Context, Result};
use dmabuf_uapi::mapping::HUGE_PAGE_BYTES;

use crate::outcome::not_possible;

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";
const STAT_REFRESH: &str = "/proc/sys/vm/stat_refresh";
const PAGE_LIST_FRACTION: &str = "/proc/sys/vm/percpu_pagelist_high_fraction";
const ZONE_INFO: &str = "/proc/zoneinfo";
const COMPACT_MEMORY: &str = "/proc/sys/vm/compact_memory";
const HUGETLB_POOL_PAGES: &str = "/proc/sys/vm/nr_hugepages";
const ANONYMOUS_HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const SHMEM_HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Writes dirty pages back and empties the page cache of every file system.
pub fn drop_page_cache() -> Result<()> {
    rustix::fs::sync();
    fs::write(DROP_CACHES, "1").context(DROP_CACHES)
}

/// So small a fraction of memory that each list holds only a few batches.
const SHORTEST_PAGE_LISTS: &str = "1000000";

/// Makes every processor free the pages in its list. Otherwise the kernel frees them gradually,
/// once a second, and the pages that one measurement freed cost another.
/// (`Documentation/admin-guide/sysctl/vm.rst`)
pub fn drain_page_lists() -> Result<()> {
    // Before Linux 5.14 the lists were short, and this limit had another name.
    let Ok(before) = read(PAGE_LIST_FRACTION) else { return Ok(()) };
    fs::write(PAGE_LIST_FRACTION, SHORTEST_PAGE_LISTS).context(PAGE_LIST_FRACTION)?;
    let drained = drain_step_by_step();
    fs::write(PAGE_LIST_FRACTION, before).context(PAGE_LIST_FRACTION)?;
    drained
}

/// Each refresh of the statistics frees a part of the pages above the limit.
fn drain_step_by_step() -> Result<()> {
    let listed = || Ok::<_, anyhow::Error>(listed_pages(&read(ZONE_INFO)?));
    let mut left = listed()?;
    loop {
        fs::write(STAT_REFRESH, "1").context(STAT_REFRESH)?;
        let now_left = listed()?;
        if now_left >= left {
            return Ok(());
        }
        left = now_left;
    }
}

/// Counts the free pages in the processors' lists, from `/proc/zoneinfo`.
fn listed_pages(zone_info: &str) -> u64 {
    let counts = zone_info.lines().filter_map(|line| line.trim().strip_prefix("count:"));
    counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum()
}

/// The kind of pages of memfds and bounce memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Ordinary pages only.
    Small,
    /// Transparent huge pages, in mappings that request them.
    Transparent,
    /// Hugetlb pages of the pool.
    Hugetlb,
}

impl Pages {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Small, Self::Transparent, Self::Hugetlb];

    /// The suffix of a method's name; empty for ordinary pages.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Small => "",
            Self::Transparent => " (THP)",
            Self::Hugetlb => " (hugetlb)",
        }
    }

    /// Sets the machine up so that `bytes` of memory can be allocated in these pages.
    ///
    /// The result is "not possible" if the kernel does not support them or has too few.
    pub fn set_up(self, bytes: u64) -> Result<PagesSetting> {
        let setting = PagesSetting([
            (HUGETLB_POOL_PAGES, read(HUGETLB_POOL_PAGES).ok()),
            (ANONYMOUS_HUGE_PAGES, chosen_in(ANONYMOUS_HUGE_PAGES)),
            (SHMEM_HUGE_PAGES, chosen_in(SHMEM_HUGE_PAGES)),
        ]);
        let (anonymous, shmem) = match self {
            Self::Transparent => ("madvise", "advise"),
            Self::Small | Self::Hugetlb => ("never", "deny"),
        };
        for (file, word) in [(ANONYMOUS_HUGE_PAGES, anonymous), (SHMEM_HUGE_PAGES, shmem)] {
            let set = fs::write(file, word);
            if self == Self::Transparent {
                set.map_err(|error| not_possible(format!("{file}: {error}")))?;
            }
        }
        let wanted = match self {
            Self::Hugetlb => bytes.div_ceil(HUGE_PAGE_BYTES as u64),
            Self::Small | Self::Transparent => 0,
        };
        if wanted > 0 {
            drop_page_cache()?;
            // Without compaction in the kernel the pool may be smaller, which is checked below.
            let _ = fs::write(COMPACT_MEMORY, "1");
        }
        let set = fs::write(HUGETLB_POOL_PAGES, wanted.to_string());
        if wanted > 0 {
            set.map_err(|error| not_possible(format!("{HUGETLB_POOL_PAGES}: {error}")))?;
            let pages: u64 = read(HUGETLB_POOL_PAGES)?.parse().context(HUGETLB_POOL_PAGES)?;
            if pages < wanted {
                return Err(not_possible(format!(
                    "only {pages} of {wanted} huge pages can be reserved"
                )));
            }
        }
        Ok(setting)
    }
}

/// The earlier values by file, restored on drop.
#[derive(Debug)]
#[must_use = "the setting ends when this is dropped"]
pub struct PagesSetting([(&'static str, Option<String>); 3]);

impl Drop for PagesSetting {
    fn drop(&mut self) {
        for (file, value) in &self.0 {
            if let Some(Err(error)) = value.as_ref().map(|value| fs::write(file, value)) {
                eprintln!("{file} was not restored: {error}");
            }
        }
    }
}

fn read(file: &str) -> Result<String> {
    Ok(fs::read_to_string(file).with_context(|| file.to_owned())?.trim().to_owned())
}

fn chosen_in(file: &str) -> Option<String> {
    read(file).ok().as_deref().and_then(chosen).map(str::to_owned)
}

/// Returns the value in brackets: `always [advise] never`.
fn chosen(choices: &str) -> Option<&str> {
    choices.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_pages_include_every_zone_and_processor() {
        let zone_info = "Node 0, zone      DMA\n  pages free     3840\n  pagesets\n    cpu: 0\n\
                         \x20             count:    12\n              high:     0\n    cpu: 1\n\
                         \x20             count:    30\nNode 0, zone    DMA32\n  pagesets\n    cpu: 0\n\
                         \x20             count:    300\n";
        assert_eq!(listed_pages(zone_info), 342);
        assert_eq!(listed_pages(""), 0);
    }

    #[test]
    fn the_chosen_value_is_in_brackets() {
        assert_eq!(chosen("always within_size advise [never] deny force"), Some("never"));
        assert_eq!(chosen("0"), None);
    }
}
