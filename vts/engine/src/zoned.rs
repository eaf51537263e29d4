// SPDX-License-Identifier: Apache-2.0
//! Tests of F2FS on zoned storage, as UFS 4 has it: reads are direct, though `statx(2)` reports
//! that the file system does no direct I/O, which is true of writes.

use std::path::PathBuf;

use anyhow::{ensure, Context as _, Result};
use dmabuf_engine::request::{Policy, SaveRequest};
use dmabuf_engine::{
    ClientId, Context, Engine, EngineConfig, EngineError, FileSystems, PoolConfig,
};
use dmabuf_uapi::file_attributes::file_attributes;
use dmabuf_uapi::page_cache::cached_pages;
use libtest_mimic::Trial;
use vts_support::files::{content, drop_cache, Files, Mode};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::assert_same;

use crate::load::{contents, load, made, new_buffer, owned, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const SIZE_BYTES: u64 = (3 << 20) + 1234;
const DIR_VARIABLE: &str = "DMABUF_TEST_ZONED_DIR";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("zoned", "loads_are_direct", loads_are_direct),
        trial("zoned", "a_load_of_few_bytes_is_not_a_trial", few_bytes),
        trial("zoned", "saves_go_through_the_page_cache", saves_are_buffered),
    ]
}

fn zoned_files() -> Result<Files> {
    let dir = std::env::var_os(DIR_VARIABLE);
    let dir = dir.map(PathBuf::from).ok_or_else(|| skip(format!("set {DIR_VARIABLE}")))?;
    Files::new_in(&dir)
}

fn device_engine() -> Engine {
    let file_systems = FileSystems::without_server_and([]);
    Engine::new(EngineConfig { file_systems, ..EngineConfig::new(false, PoolConfig::OFF) })
}

fn loads_are_direct() -> Result<()> {
    let files = zoned_files()?;
    let engine = device_engine();
    for (seed, mode) in [(91, Mode::Buffered), (92, Mode::Direct), (93, Mode::Buffered)] {
        let file = files.patterned(&format!("f{seed}"), seed, SIZE_BYTES)?;
        let align = file_attributes(file.buffered()?)?.direct_io_align;
        ensure!(
            align.is_some_and(|align| align.memory_bytes == 0),
            "the file system reports direct I/O for writes: {align:?}"
        );
        let watched = file.buffered()?;
        drop_cache(&watched)?;
        let before = cached_pages(&watched).context("cachestat")?;
        let source = file.open(mode)?;
        let new = new_buffer("udmabuf", 0);
        let loaded = load(&engine, CLIENT, new, Policy::REQUIRE_DIRECT, &source, &[WHOLE]);
        let loaded = loaded.with_context(|| format!("file opened {mode:?}"))?;
        let report = &loaded.report;
        // The last block, which is not whole, goes through a bounce buffer.
        ensure!(report.direct_bytes() >= SIZE_BYTES - 4096, "{report:?}");
        let grown = cached_pages(&watched)?.saturating_sub(before);
        ensure!(grown <= 1, "the page cache of the file grew by {grown} pages: {report:?}");
        let expected = file.expected(0, SIZE_BYTES as usize);
        assert_same(&contents(&made(loaded)?)?[..expected.len()], &expected, "loaded");
    }
    Ok(())
}

fn few_bytes() -> Result<()> {
    let files = zoned_files()?;
    let engine = device_engine();
    let file = files.patterned("f", 94, 8192)?;
    let source = file.buffered()?;
    let loaded = load(&engine, CLIENT, new_buffer("", 0), Policy::AUTO, &source, &[WHOLE])?;
    let report = &loaded.report;
    ensure!(report.buffered_bytes() == 8192, "{report:?}");
    assert_same(&contents(&made(loaded)?)?, &file.expected(0, 8192), "loaded");
    Ok(())
}

fn saves_are_buffered() -> Result<()> {
    let files = zoned_files()?;
    let engine = device_engine();
    let file = files.patterned("f", 95, SIZE_BYTES)?;
    let new = new_buffer("udmabuf", 0);
    let source = file.buffered()?;
    let buffer = made(load(&engine, CLIENT, new, Policy::AUTO, &source, &[WHOLE])?)?;
    let expected = contents(&buffer)?;
    for mode in Mode::ALL {
        let path = files.path(&format!("{mode:?}"));
        let save = |policy| -> Result<_> {
            let target = mode.open_output(&path)?;
            let request = SaveRequest {
                buffer: owned(&buffer.fd),
                files: vec![target.into()],
                segments: vec![WHOLE],
                policy,
            };
            Ok(engine.save(request, &Context::new(CLIENT)))
        };
        let refused = save(Policy::REQUIRE_DIRECT)?;
        ensure!(
            matches!(refused, Err(EngineError::DirectIoUnavailable { .. })),
            "file opened {mode:?}: {refused:?}"
        );
        let saved = save(Policy::AUTO)?.with_context(|| format!("file opened {mode:?}"))?;
        ensure!(saved.report.direct_bytes() == 0, "{:?}", saved.report);
        assert_same(&content(&path)?, &expected, "saved");
    }
    Ok(())
}
