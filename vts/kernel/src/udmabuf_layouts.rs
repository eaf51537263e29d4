// SPDX-License-Identifier: Apache-2.0
//! Tests of udmabufs whose memory is not in the order of their memfds, or lies within large folios.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::memfd;
use dmabuf_uapi::udmabuf::MemfdRange;
use libtest_mimic::Trial;
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
use vts_support::files::{content, Files, Mode};
use vts_support::outcome::skip;
use vts_support::pattern::{self, assert_same, UNTOUCHED};

use crate::buffer::{meminfo_kib, Buffer};
use crate::outcome::support_trial;

const PAGE_BYTES: u64 = 4096;
const HUGE_POOL: &str = "/proc/sys/vm/nr_hugepages";
const SHMEM_HUGE: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

pub fn trials() -> Vec<Trial> {
    vec![
        support_trial("udmabuf_layouts", "items_in_any_order", items_in_any_order),
        support_trial("udmabuf_layouts", "items_of_several_memfds", items_of_several_memfds),
        support_trial("udmabuf_layouts", "one_page_per_item", one_page_per_item),
        support_trial("udmabuf_layouts", "items_may_repeat", items_may_repeat),
        support_trial("udmabuf_layouts", "within_a_hugetlb_page", within_a_hugetlb_page),
        support_trial("udmabuf_layouts", "hugetlb_pages_in_any_order", hugetlb_pages_in_any_order),
        support_trial("udmabuf_layouts", "within_transparent_huge_pages", transparent_huge_pages),
    ]
}

/// A range of a memfd in pages: index of the memfd, first page, number of pages.
type Item = (usize, u64, u64);

/// Loads and saves a udmabuf of `items` and compares the memfds page by page.
fn check(memfds: &[OwnedFd], items: &[Item]) -> Result<()> {
    // Linux 6.12 finds no huge pages for a memfd that has none yet.
    fill(memfds)?;
    let ranges = items.iter().map(|(memfd, page, pages)| MemfdRange {
        memfd: memfds[*memfd].as_fd(),
        offset_bytes: page * PAGE_BYTES,
        size_bytes: pages * PAGE_BYTES,
    });
    let buffer = Buffer::of_memfd(&ranges.collect::<Vec<_>>())?;
    let size = buffer.size_bytes();
    let files = Files::new()?;
    let source = files.patterned("in", 101, size as u64)?;

    let middle = (PAGE_BYTES as usize, size - 2 * PAGE_BYTES as usize - 77);
    for (mode, (offset, len)) in
        Mode::ALL.into_iter().flat_map(|mode| [(0, size), middle].map(|range| (mode, range)))
    {
        let mut expected = fill(memfds)?;
        let loaded = buffer.load(&source.open(mode)?, offset as u64, offset as u64, len)?;
        assert_eq!(loaded, len);
        let positions = (0..size as u64).step_by(PAGE_BYTES as usize);
        for (position, (memfd, page)) in positions.zip(pages_of(items)) {
            let from = position.max(offset as u64);
            let to = (position + PAGE_BYTES).min((offset + len) as u64);
            if from < to {
                let at = (page * PAGE_BYTES + from - position) as usize;
                let bytes = source.expected(from, (to - from) as usize);
                expected[memfd][at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
        for (memfd, expected) in memfds.iter().zip(&expected) {
            assert_same(&all_bytes(memfd)?, expected, &format!("{mode:?} load, memfd"));
        }
        check_save(&buffer, memfds, items)?;
    }
    Ok(())
}

/// Saves a udmabuf of `items` and compares the file with the memfds.
fn check_save(buffer: &Buffer, memfds: &[OwnedFd], items: &[Item]) -> Result<()> {
    let memory = memfds.iter().map(all_bytes).collect::<Result<Vec<_>>>()?;
    let pages = pages_of(items).flat_map(|(memfd, page)| {
        let at = (page * PAGE_BYTES) as usize;
        memory[memfd][at..at + PAGE_BYTES as usize].to_vec()
    });
    let expected = pages.collect::<Vec<_>>();
    let files = Files::new()?;
    for mode in Mode::ALL {
        let path = files.path("out");
        assert_eq!(buffer.save(0, &mode.open_output(&path)?, 0, usize::MAX)?, expected.len());
        assert_same(&content(&path)?, &expected, &format!("{mode:?} save, file"));
    }
    Ok(())
}

/// Lists the pages of a buffer in its order: index of the memfd, page.
fn pages_of(items: &[Item]) -> impl Iterator<Item = (usize, u64)> + '_ {
    items.iter().flat_map(|(memfd, page, pages)| (*page..page + pages).map(|page| (*memfd, page)))
}

fn map(memfd: &OwnedFd) -> Result<Mapping> {
    let size = rustix::fs::fstat(memfd)?.st_size;
    Ok(Mapping::shared(memfd, usize::try_from(size)?, MappingAccess::ReadWrite)?)
}

fn all_bytes(memfd: &OwnedFd) -> Result<Vec<u8>> {
    let memory = map(memfd)?;
    let mut bytes = vec![0; memory.len_bytes()];
    memory.read(0, &mut bytes)?;
    Ok(bytes)
}

/// Fills the memfds with patterns and returns their content.
fn fill(memfds: &[OwnedFd]) -> Result<Vec<Vec<u8>>> {
    let fill_one = |memfd| {
        let memory = map(memfd)?;
        let bytes = vec![UNTOUCHED; memory.len_bytes()];
        memory.write(0, &bytes)?;
        Ok(bytes)
    };
    memfds.iter().map(fill_one).collect()
}

fn small(pages: u64) -> Result<OwnedFd> {
    Ok(memfd::create_sealed(c"layout", pages * PAGE_BYTES)?)
}

fn items_in_any_order() -> Result<()> {
    check(&[small(64)?], &[(0, 7, 3), (0, 0, 2), (0, 3, 1), (0, 20, 10), (0, 10, 2), (0, 63, 1)])
}

fn items_of_several_memfds() -> Result<()> {
    let memfds = [small(16)?, small(8)?, small(32)?];
    check(&memfds, &[(2, 4, 9), (0, 0, 16), (1, 7, 1), (2, 1, 1), (1, 0, 3), (2, 31, 1)])
}

fn one_page_per_item() -> Result<()> {
    let pages = 500;
    // Steps of 3 backwards reach every page once and never two neighbours in a row.
    let items = (0..pages).map(|index| (0, (pages - 1) - (index * 3) % pages, 1));
    check(&[small(pages)?], &items.collect::<Vec<_>>())
}

fn items_may_repeat() -> Result<()> {
    let memfds = [small(8)?];
    let items = [(0, 2, 3), (0, 3, 1), (0, 0, 8), (0, 3, 1), (0, 3, 1), (0, 2, 3)];
    let ranges = items.map(|(memfd, page, pages): Item| MemfdRange {
        memfd: memfds[memfd].as_fd(),
        offset_bytes: page * PAGE_BYTES,
        size_bytes: pages * PAGE_BYTES,
    });
    let buffer = Buffer::of_memfd(&ranges)?;
    map(&memfds[0])?.write(0, &pattern::bytes(102, 0, 8 * PAGE_BYTES as usize))?;
    check_save(&buffer, &memfds, &items)?;

    // One page of the file is loaded to one of the places that page 3 has in the buffer, the last
    // but one.
    let files = Files::new()?;
    let source = files.patterned("in", 103, PAGE_BYTES)?;
    for mode in Mode::ALL {
        let mut expected = fill(&memfds)?.remove(0);
        let loaded = buffer.load(&source.open(mode)?, 0, 13 * PAGE_BYTES, PAGE_BYTES as usize)?;
        assert_eq!(loaded, PAGE_BYTES as usize);
        let page = 3 * PAGE_BYTES as usize..4 * PAGE_BYTES as usize;
        expected[page].copy_from_slice(&source.expected(0, PAGE_BYTES as usize));
        assert_same(&all_bytes(&memfds[0])?, &expected, "memfd");
    }
    Ok(())
}

fn within_a_hugetlb_page() -> Result<()> {
    let pool = HugePages::reserve(2)?;
    let pages = pool.page_bytes / PAGE_BYTES;
    let memfds = [pool.memfd(2)?];
    check(&memfds, &[(0, 1, 3)])?;
    // The range begins inside the first huge page and ends in the second.
    check(&memfds, &[(0, pages - 5, 9)])
}

fn hugetlb_pages_in_any_order() -> Result<()> {
    let pool = HugePages::reserve(3)?;
    let pages = pool.page_bytes / PAGE_BYTES;
    let memfds = [pool.memfd(2)?, pool.memfd(1)?, small(16)?];
    check(&memfds, &[(0, pages, pages), (1, 5, 100), (2, 3, 2), (0, 0, pages), (1, 300, 7)])?;
    check(&memfds, &[(1, 9, 4), (1, 2, 5), (0, 17, 20), (1, 13, 4)])
}

fn transparent_huge_pages() -> Result<()> {
    let _setting = Setting::change(Path::new(SHMEM_HUGE), "always").map_err(|error| {
        skip(format!("cannot enable transparent huge pages for memfds: {error:#}"))
    })?;
    let huge_bytes = huge_page_bytes()?;
    let before_kib = meminfo_kib("ShmemHugePages:")?;
    let memfd = memfd::create_sealed(c"thp", 4 * huge_bytes)?;
    std::os::unix::fs::FileExt::write_all_at(
        &File::from(memfd.try_clone()?),
        &vec![1; 4 * huge_bytes as usize],
        0,
    )?;
    if meminfo_kib("ShmemHugePages:")? < before_kib + 4 * huge_bytes / 1024 {
        return Err(skip("the kernel gave no transparent huge pages"));
    }
    let pages = huge_bytes / PAGE_BYTES;
    check(&[memfd], &[(0, pages + 3, 2 * pages), (0, 5, 1), (0, 10, pages - 20)])
}

fn huge_page_bytes() -> Result<u64> {
    Ok(meminfo_kib("Hugepagesize:")? * 1024)
}

/// Huge pages in the kernel's pool; dropping this restores the size of the pool.
pub struct HugePages {
    page_bytes: u64,
    _setting: Setting,
}

impl HugePages {
    /// Enlarges the pool so that `pages` more are free; skips the test if the pool cannot grow.
    pub fn reserve(pages: u64) -> Result<Self> {
        let total =
            meminfo_kib("HugePages_Total:").map_err(|_| skip("the kernel has no hugetlb"))?;
        let setting = Setting::change(Path::new(HUGE_POOL), &(total + pages).to_string())
            .map_err(|error| skip(format!("the hugetlb pool cannot be changed: {error:#}")))?;
        let free = meminfo_kib("HugePages_Free:")?;
        if free < pages {
            return Err(skip(format!("{free} huge pages are free, {pages} needed")));
        }
        Ok(Self { page_bytes: huge_page_bytes()?, _setting: setting })
    }

    /// Makes a sealed memfd of huge pages.
    pub fn memfd(&self, pages: u64) -> Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
        let memfd = memfd_create("hugetlb", flags).context("memfd_create with MFD_HUGETLB")?;
        ftruncate(&memfd, pages * self.page_bytes)?;
        fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(memfd)
    }
}

/// A kernel setting, restored on drop.
struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    fn change(path: &Path, value: &str) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{path:?}"))?;
        // A setting with several values has brackets around the one in force.
        let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let before = chosen.map_or(text.trim(), |(chosen, _)| chosen).to_owned();
        ensure!(!before.is_empty(), "{path:?} is empty");
        std::fs::write(path, value).with_context(|| format!("writing {value} to {path:?}"))?;
        Ok(Self { path: path.to_owned(), before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(&self.path, &self.before) {
            eprintln!("{:?} cannot be restored to {}: {error}", self.path, self.before);
        }
    }
}
