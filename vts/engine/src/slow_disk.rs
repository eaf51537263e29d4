// SPDX-License-Identifier: Apache-2.0
//! Tests of storage that answers late and serves many requests at a time: a load through the page
//! cache keeps it busy, where one `read(2)` after the other does not.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use dmabuf_engine::request::Policy;
use dmabuf_engine::{ClientId, PathName, PoolConfig};
use dmabuf_uapi::mapping::Mapping;
use libtest_mimic::Trial;
use vts_support::files::{drop_cache, Files};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::assert_same;

use crate::load::{contents, engine, load, made, new_buffer, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const SIZE_BYTES: u64 = 32 << 20;
const DIR_VARIABLE: &str = "DMABUF_TEST_SLOW_DIR";

pub fn trials() -> Vec<Trial> {
    vec![trial("slow_disk", "a_buffered_load_keeps_the_storage_busy", keeps_the_storage_busy)]
}

/// How long plain reads take, without the page cache's help.
fn read_plainly(file: &File) -> Result<Duration> {
    let len = 1 << 20;
    let memory = Mapping::anonymous(len)?;
    drop_cache(file)?;
    let begin = Instant::now();
    for offset in (0..SIZE_BYTES).step_by(len) {
        ensure!(memory.pread(0..len, file, offset)? == len, "a short read");
    }
    Ok(begin.elapsed())
}

fn keeps_the_storage_busy() -> Result<()> {
    let dir = std::env::var_os(DIR_VARIABLE);
    let dir = dir.map(PathBuf::from).ok_or_else(|| skip(format!("set {DIR_VARIABLE}")))?;
    let files = Files::new_in(&dir)?;
    let file = files.patterned("f", 78, SIZE_BYTES)?;
    let engine = engine(PoolConfig::OFF);
    let plain = read_plainly(&file.buffered()?)?;
    let source = file.buffered()?;
    drop_cache(&source)?;
    let policy = Policy::only(PathName::Buffered);
    let loaded = load(&engine, CLIENT, new_buffer("system", 0), policy, &source, &[WHOLE])?;
    let transfer = loaded.report.transfer;
    println!("INFO: plain reads take {plain:?}, the load {transfer:?}");
    let expected = file.expected(0, SIZE_BYTES as usize);
    assert_same(&contents(&made(loaded)?)?, &expected, "loaded");
    ensure!(transfer * 3 < plain, "plain reads take {plain:?}, the load {transfer:?}");
    Ok(())
}
