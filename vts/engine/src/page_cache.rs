// SPDX-License-Identifier: Apache-2.0
//! Tests of what a load through the page cache leaves alone: the pages that others have there, and
//! the readahead of the client's open file description.

use std::fs::File;

use anyhow::{ensure, Context as _, Result};
use dmabuf_engine::request::Policy;
use dmabuf_engine::{ClientId, PathName, PoolConfig};
use dmabuf_uapi::mapping::Mapping;
use dmabuf_uapi::page_cache::{cached_pages, cached_pages_in};
use dmabuf_uapi::page_size_bytes;
use libtest_mimic::Trial;
use rustix::fs::{fadvise, Advice};
use vts_support::files::{drop_cache, Files, TestFile};
use vts_support::outcome::trial;
use vts_support::pattern::assert_same;

use crate::load::{contents, engine, load, made, new_buffer, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const MIB: u64 = 1 << 20;
const BUFFERED: Policy = Policy::only(PathName::Buffered);

pub fn trials() -> Vec<Trial> {
    vec![
        trial("page_cache", "pages_of_others_stay", || pages_of_others_stay(40 * MIB)),
        trial("page_cache", "pages_of_others_stay/in_parallel", || pages_of_others_stay(80 * MIB)),
        trial("page_cache", "the_readahead_of_the_file_stays", readahead_stays),
    ]
}

fn load_buffered(file: &TestFile, source: &File, size_bytes: u64) -> Result<()> {
    let engine = engine(PoolConfig::OFF);
    let loaded = load(&engine, CLIENT, new_buffer("system", 0), BUFFERED, source, &[WHOLE])?;
    let expected = file.expected(0, size_bytes as usize);
    assert_same(&contents(&made(loaded)?)?[..expected.len()], &expected, "loaded");
    Ok(())
}

/// Another process has read a part of the file as a whole, and single pages of another one.
fn pages_of_others_stay(size_bytes: u64) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 75, size_bytes)?;
    let page = page_size_bytes() as u64;
    let memory = Mapping::anonymous(page as usize)?;
    let other = file.buffered()?;
    // Without readahead.
    fadvise(&other, 0, None, Advice::Random)?;
    let whole = (3 * MIB..6 * MIB).step_by(page as usize);
    let single = (9 * MIB..30 * MIB).step_by(67 * page as usize);
    let theirs: Vec<u64> = whole.chain(single).collect();
    for offset in &theirs {
        memory.pread(0..page as usize, &other, *offset)?;
    }
    load_buffered(&file, &file.buffered()?, size_bytes)?;
    for offset in theirs {
        let cached = cached_pages_in(&other, offset..offset + page).context("cachestat")?;
        ensure!(cached == 1, "the page at {offset} is gone");
    }
    Ok(())
}

/// How many pages a read at the start of the file brings in.
fn readahead_pages(file: &File) -> Result<u64> {
    let len = 128 << 10;
    let memory = Mapping::anonymous(len)?;
    drop_cache(file)?;
    let before = cached_pages(file).context("cachestat")?;
    memory.pread(0..len, file, 0)?;
    Ok(cached_pages(file)? - before)
}

fn readahead_stays() -> Result<()> {
    let files = Files::new()?;
    let size_bytes = 4 * MIB;
    let file = files.patterned("f", 77, size_bytes)?;
    let fresh = readahead_pages(&file.buffered()?)?;
    let source = file.buffered()?;
    load_buffered(&file, &source, size_bytes)?;
    let used = readahead_pages(&source)?;
    ensure!(used == fresh, "{used} pages are read ahead, {fresh} by a description of its own");
    Ok(())
}
