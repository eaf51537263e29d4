// SPDX-License-Identifier: Apache-2.0
//! Tests of saves during which the client sets `O_APPEND`: every byte is written at its offset, or
//! the save fails.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{anyhow, bail, ensure, Context as _, Result};
use dmabuf_engine::request::{Policy, SaveRequest};
use dmabuf_engine::{Buffer, ClientId, Context, Engine, EngineError, PathName, PoolConfig};
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};
use vts_support::files::{content, Files, Mode};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::assert_same;

use crate::load::{contents, engine, load, made, new_buffer, owned, WHOLE};

const CLIENT: ClientId = ClientId(1000);
const SIZE_BYTES: u64 = 32 << 20;
/// Saves at least this many times, and until the flag has changed during each of them.
const SAVES: u64 = 10;

pub fn trials() -> Vec<Trial> {
    [
        ("auto", Policy::AUTO),
        ("copy_file_range", Policy::only(PathName::CopyFileRange)),
        ("bounce", Policy::only(PathName::Bounce)),
        ("buffered", Policy::only(PathName::Buffered)),
    ]
    .into_iter()
    .flat_map(|(name, policy)| {
        Mode::ALL.map(|mode| {
            let name = format!("no_byte_is_appended/{name}/{mode:?}").to_lowercase();
            trial("appending", &name, move || saves_while_the_flag_changes(policy, mode))
        })
    })
    .collect()
}

fn saves_while_the_flag_changes(policy: Policy, mode: Mode) -> Result<()> {
    let files = Files::new()?;
    let engine = engine(PoolConfig::OFF);
    let source = files.patterned("source", 71, SIZE_BYTES)?.buffered()?;
    let new = new_buffer("system", 0);
    let buffer = made(load(&engine, CLIENT, new, Policy::AUTO, &source, &[WHOLE])?)?;
    let expected = contents(&buffer)?;
    let path = files.path("target");
    let mut saved_whole = 0;
    for number in 0..SAVES {
        let target = mode.open_output(&path)?;
        target.set_len(SIZE_BYTES)?;
        let saved = while_the_flag_changes(&target, || save(&engine, &buffer, &target, policy))?;
        match saved {
            Ok(()) => {
                saved_whole += 1;
                assert_same(&content(&path)?, &expected, "saved");
            }
            // A save that has seen the flag, and copy_file_range, which the kernel refuses then.
            Err(EngineError::BadFd { .. } | EngineError::Io { errno: Errno::BADF, .. }) => {}
            Err(error @ EngineError::PathUnavailable { .. }) if saved_whole == 0 => {
                return Err(skip(error.to_string()));
            }
            Err(error) => bail!("save {number}: {error}"),
        }
        let len = target.metadata()?.len();
        ensure!(len == SIZE_BYTES, "save {number}: the file has {len} bytes");
        std::fs::remove_file(&path)?;
    }
    println!("INFO: {saved_whole} of {SAVES} saves have succeeded");
    Ok(())
}

fn save(
    engine: &Engine,
    buffer: &Buffer,
    target: &File,
    policy: Policy,
) -> dmabuf_engine::Result<()> {
    let request = SaveRequest {
        buffer: owned(&buffer.fd),
        files: vec![owned(target)],
        segments: vec![WHOLE],
        policy,
    };
    engine.save(request, &Context::new(CLIENT)).map(drop)
}

/// Sets and clears the flag of a file in another thread, during the action and at least once.
fn while_the_flag_changes<T>(file: &File, action: impl FnOnce() -> T) -> Result<T> {
    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let changer = scope.spawn(|| -> Result<()> {
            let plain = fcntl_getfl(file.as_fd())?;
            while !stop.load(Ordering::Relaxed) {
                for flags in [plain | OFlags::APPEND, plain] {
                    fcntl_setfl(file.as_fd(), flags).context("F_SETFL")?;
                    changes.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                }
            }
            Ok(())
        });
        // The save begins with the flag clear most often, else it fails before it writes.
        while changes.load(Ordering::Relaxed) == 0 && !changer.is_finished() {
            std::thread::yield_now();
        }
        let done = action();
        stop.store(true, Ordering::Relaxed);
        changer.join().map_err(|_| anyhow!("the thread that sets the flag panicked"))??;
        Ok(done)
    })
}
