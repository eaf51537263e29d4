// SPDX-License-Identifier: Apache-2.0
//! Tests that what is written to a udmabuf stays in its memfd when the kernel reclaims memory.
//!
//! `/proc/sys/vm/drop_caches` drops clean pages, as reclaim does, also those of memfds.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::memfd;
use dmabuf_uapi::page_cache::cached_pages;
use dmabuf_uapi::udmabuf::MemfdRange;
use libtest_mimic::Trial;
use vts_support::files::{Files, Mode};
use vts_support::outcome::skip;
use vts_support::pattern::{self, assert_filled, assert_same, UNTOUCHED};

use crate::buffer::Buffer;
use crate::outcome::support_trial;

const SIZE_BYTES: usize = 32_768;
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

pub fn trials() -> Vec<Trial> {
    vec![
        support_trial("reclaim", "loaded_pages_stay", loaded_pages_stay),
        support_trial("reclaim", "pages_written_by_the_cpu_stay", pages_written_by_the_cpu_stay),
    ]
}

/// Makes a memfd, none of whose pages exists yet, and a udmabuf of it.
fn udmabuf() -> Result<(File, Buffer)> {
    let memfd = memfd::create_sealed(c"reclaim", SIZE_BYTES as u64)?;
    let size_bytes = SIZE_BYTES as u64;
    let range = MemfdRange { memfd: memfd.as_fd(), offset_bytes: 0, size_bytes };
    let buffer = Buffer::of_memfd(&[range])?;
    Ok((File::from(memfd), buffer))
}

/// Drops the clean pages of all files from memory.
fn drop_clean_pages() -> Result<()> {
    let control: OwnedFd = memfd::create_sealed(c"clean", SIZE_BYTES as u64)?;
    let memory = Mapping::shared(&control, SIZE_BYTES, MappingAccess::ReadWrite)?;
    // A page that is only read exists, and is clean.
    let mut seen = [UNTOUCHED; SIZE_BYTES];
    memory.read(0, &mut seen)?;
    assert_filled(&seen, 0, "a memfd that was not written");
    drop(memory);
    ensure!(cached_pages(&control)? != 0, "the control has no pages");
    std::fs::write(DROP_CACHES, "1").with_context(|| format!("writing {DROP_CACHES}"))?;
    match cached_pages(&control)? {
        0 => Ok(()),
        left => Err(skip(format!("{left} clean pages of a memfd were not dropped"))),
    }
}

fn check(memfd: &File, expected: &[u8], what: &str) -> Result<()> {
    drop_clean_pages()?;
    let mut seen = vec![0; SIZE_BYTES];
    memfd.read_exact_at(&mut seen, 0)?;
    assert_same(&seen, expected, what);
    Ok(())
}

fn loaded_pages_stay() -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 121, SIZE_BYTES as u64)?;
    for mode in Mode::ALL {
        let (memfd, buffer) = udmabuf()?;
        assert_eq!(buffer.load(&source.open(mode)?, 0, 0, SIZE_BYTES), Ok(SIZE_BYTES));
        drop(buffer);
        check(&memfd, &source.expected(0, SIZE_BYTES), &format!("{mode:?} load"))?;
    }
    Ok(())
}

fn pages_written_by_the_cpu_stay() -> Result<()> {
    let (memfd, buffer) = udmabuf()?;
    let bytes = pattern::bytes(122, 0, SIZE_BYTES);
    buffer.write(0, &bytes)?;
    drop(buffer);
    check(&memfd, &bytes, "written through a mapping of the buffer")
}
