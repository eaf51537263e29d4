// SPDX-License-Identifier: Apache-2.0
//! Tests of what importers see of udmabufs in every kind of pages and any layout, and that the
//! engine makes none of which they see wrong bytes.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{ensure, Context, Result};
use dmabuf_engine::request::Policy;
use dmabuf_engine::{ClientId, Engine, HugeUdmabufs, PathName, PoolConfig};
use dmabuf_uapi::mapping::{Mapping, HUGE_PAGE_BYTES};
use dmabuf_uapi::memfd::{create_sealed, create_sealed_hugetlb};
use dmabuf_uapi::udmabuf::{open_device, MemfdRange};
use libtest_mimic::Trial;
use vts_support::files::Files;
use vts_support::importer::Importer;
use vts_support::outcome::{skip, trial};
use vts_support::pattern;
use vts_uapi::udmabuf::create_list;

use crate::load::{allocate, engine, engine_with_huge_udmabufs, load, made, new_buffer, WHOLE};
use crate::memory::{meminfo, transparent_huge_pages_made, ShmemEnabled};

const CLIENT: ClientId = ClientId(1000);
const PAGE_BYTES: usize = 4096;
const MEMFD_PAGES: usize = 4 * HUGE_PAGE_BYTES / PAGE_BYTES;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("importer", "base_pages_are_seen_in_any_layout", base_pages_are_seen_in_any_layout),
        trial("importer", "huge_pages_are_seen_where_used", huge_pages_are_seen_where_used),
        trial("importer", "what_the_engine_makes_is_seen", what_the_engine_makes_is_seen),
        trial("importer", "base_pages_are_base_by_any_setting", base_pages_are_base_by_any_setting),
    ]
}

/// Whether the engine makes udmabufs of huge pages on this kernel.
fn has_huge_udmabufs(engine: &Engine) -> Result<bool> {
    let heap = engine.heaps().iter().find(|heap| &*heap.name == "udmabuf");
    heap.and_then(|heap| heap.has_huge_pages()).ok_or_else(|| skip("no udmabuf"))
}

/// A populated memfd of [`MEMFD_PAGES`] with a pattern in it.
struct Memory {
    what: &'static str,
    memfd: OwnedFd,
    bytes: Vec<u8>,
}

impl Memory {
    fn new(what: &'static str, memfd: OwnedFd, advise: impl Fn(&Mapping)) -> Result<Self> {
        let len_bytes = MEMFD_PAGES * PAGE_BYTES;
        let mapping = Mapping::shared_huge_aligned(&memfd, len_bytes)?;
        advise(&mapping);
        mapping.populate().with_context(|| what)?;
        let bytes = pattern::bytes(what.len() as u64, 0, len_bytes);
        mapping.write(0, &bytes)?;
        Ok(Self { what, memfd, bytes })
    }

    fn base() -> Result<Self> {
        let memfd = create_sealed(c"base", (MEMFD_PAGES * PAGE_BYTES) as u64)?;
        Self::new("base pages", memfd, Mapping::advise_base_pages)
    }

    fn transparent() -> Result<Self> {
        let memfd = create_sealed(c"transparent", (MEMFD_PAGES * PAGE_BYTES) as u64)?;
        Self::new("transparent huge pages", memfd, |mapping| {
            mapping.advise_huge_pages();
            let _ = mapping.collapse_into_huge_pages();
        })
    }

    fn hugetlb() -> Result<Self> {
        let memfd = create_sealed_hugetlb(c"hugetlb", (MEMFD_PAGES * PAGE_BYTES) as u64)
            .map_err(|errno| skip(format!("hugetlb: {errno}")))?;
        Self::new("hugetlb pages", memfd, |_| {})
    }
}

/// Items of pages: first page and number of pages, whole or partial huge pages in any order.
const LAYOUTS: [&[(usize, usize)]; 8] = [
    &[(0, MEMFD_PAGES)],
    &[(0, 1)],
    &[(1, 2)],
    &[(511, 2)],
    &[(3 * 512 - 1, 1)],
    &[(700, 1000)],
    &[(512, 512), (0, 512)],
    &[(5, 3), (1023, 2), (5, 1), (100, 600)],
];

/// The views in which a layout of this memory shows wrong bytes.
fn wrong_layouts(importer: &Importer, memory: &Memory) -> Result<Vec<String>> {
    let device = open_device()?;
    let mut wrong = Vec::new();
    for layout in LAYOUTS {
        let bytes_of = |(page, pages): &(usize, usize)| {
            memory.bytes[page * PAGE_BYTES..(page + pages) * PAGE_BYTES].to_vec()
        };
        let expected: Vec<u8> = layout.iter().flat_map(bytes_of).collect();
        let ranges = layout.iter().map(|(page, pages)| MemfdRange {
            memfd: memory.memfd.as_fd(),
            offset_bytes: (page * PAGE_BYTES) as u64,
            size_bytes: (pages * PAGE_BYTES) as u64,
        });
        let buffer = create_list(&device, &ranges.collect::<Vec<_>>())
            .with_context(|| format!("{layout:?} of {}", memory.what))?;
        let views = importer.wrong_views(&buffer, &expected)?;
        if !views.is_empty() {
            wrong.push(format!("{layout:?} of {}: {views:?}", memory.what));
        }
    }
    Ok(wrong)
}

fn base_pages_are_seen_in_any_layout() -> Result<()> {
    let wrong = wrong_layouts(&Importer::open()?, &Memory::base()?)?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn huge_pages_are_seen_where_used() -> Result<()> {
    let importer = Importer::open()?;
    let is_used = has_huge_udmabufs(&engine(PoolConfig::OFF))?;
    let wrong = [
        wrong_layouts(&importer, &Memory::hugetlb()?)?,
        wrong_layouts(&importer, &Memory::transparent()?)?,
    ]
    .concat();
    println!("INFO: udmabufs in huge pages: used: {is_used}, {} wrong layouts", wrong.len());
    ensure!(!is_used || wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Loads and allocates with huge pages free.
fn what_the_engine_makes_is_seen() -> Result<()> {
    let importer = Importer::open()?;
    let engine = engine(PoolConfig::OFF);
    let is_used = has_huge_udmabufs(&engine)?;
    let files = Files::new()?;
    let before = meminfo("HugePages_Free")?;
    if before < 4 {
        return Err(skip(format!("{before} hugetlb pages free")));
    }
    // The first fits hugetlb pages, the second transparent ones.
    for (size_bytes, hugetlb_pages) in
        [(4 * HUGE_PAGE_BYTES - 77, 4), (3 * HUGE_PAGE_BYTES + 77, 0)]
    {
        let file = files.patterned(&size_bytes.to_string(), 9, size_bytes as u64)?;
        for policy in
            [Policy::AUTO, Policy::only(PathName::UdmabufDirect), Policy::only(PathName::Bounce)]
        {
            let new = new_buffer("udmabuf", 0);
            let buffer = made(load(&engine, CLIENT, new, policy, &file.direct()?, &[WHOLE])?)?;
            let taken = before - meminfo("HugePages_Free")?;
            let expected = if is_used { hugetlb_pages } else { 0 };
            ensure!(taken == expected, "{policy:?}: {taken} hugetlb pages, not {expected}");
            let mut bytes = file.expected(0, size_bytes);
            bytes.resize(usize::try_from(buffer.size_bytes)?, 0);
            importer.expect(&buffer.fd, &bytes).with_context(|| format!("{policy:?}"))?;
        }
        let new = new_buffer("udmabuf", size_bytes as u64);
        let buffer = allocate(&engine, CLIENT, &new)?;
        importer.expect(&buffer.fd, &vec![0; usize::try_from(buffer.size_bytes)?])?;
    }
    Ok(())
}

/// Where udmabufs are to have base pages, no setting of the system gives them others.
fn base_pages_are_base_by_any_setting() -> Result<()> {
    let importer = Importer::open()?;
    let engine = engine_with_huge_udmabufs(HugeUdmabufs::No);
    ensure!(!has_huge_udmabufs(&engine)?);
    let files = Files::new()?;
    let size_bytes = 2 * HUGE_PAGE_BYTES;
    let file = files.patterned("f", 3, size_bytes as u64)?;
    for setting in ["always", "advise"] {
        let _setting = ShmemEnabled::set(setting)?;
        let before = transparent_huge_pages_made()?;
        let new = || new_buffer("udmabuf", size_bytes as u64);
        let allocated = allocate(&engine, CLIENT, &new())?;
        let direct = file.direct()?;
        let loaded = made(load(&engine, CLIENT, new(), Policy::AUTO, &direct, &[WHOLE])?)?;
        let after = transparent_huge_pages_made()?;
        ensure!(after == before, "{setting}: {} huge pages", after - before);
        importer.expect(&allocated.fd, &vec![0; size_bytes])?;
        importer.expect(&loaded.fd, &file.expected(0, size_bytes))?;
    }
    Ok(())
}
