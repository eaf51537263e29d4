// SPDX-License-Identifier: Apache-2.0
//! Tests of the pool: released buffers are reclaimed, and no client sees the bytes of another.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dmabuf_engine::request::Policy;
use dmabuf_engine::{Buffer, ClientId, Engine, PathName, PoolConfig, PoolStats};
use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::page_references::hold_first_page;
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use vts_support::files::{Files, TestFile};
use vts_support::outcome::{skip, trial};
use vts_support::pattern::{assert_filled, assert_same};
use vts_support::wait;
use vts_uapi::drm_prime::{find_card, open_card, GemHandle};

use crate::load::{allocate, contents, engine, load, made, new_buffer, WHOLE};

const CAMERA: ClientId = ClientId(1047);
const OTHER: ClientId = ClientId(2000);
const SIZE_BYTES: u64 = 4 << 20;
const POOL: PoolConfig = PoolConfig::of_bytes(64 << 20);
const HEAPS: [&str; 2] = ["system", "udmabuf"];

/// Long enough for the pool's thread to reclaim released buffers and to zero them.
const PATIENCE: Duration = Duration::from_secs(10);

type Test = fn(&str) -> Result<()>;

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 12] = [
        ("a_client_gets_its_released_buffer_again", a_client_gets_its_released_buffer_again),
        ("a_released_buffer_is_found_at_once", a_released_buffer_is_found_at_once),
        ("a_buffer_in_use_is_not_reused", a_buffer_in_use_is_not_reused),
        ("a_reused_buffer_is_zero_after_the_file", a_reused_buffer_is_zero_after_the_file),
        ("no_client_sees_the_bytes_of_another", no_client_sees_the_bytes_of_another),
        ("a_mapped_or_held_buffer_is_not_reclaimed", a_mapped_or_held_buffer_is_not_reclaimed),
        ("an_attached_buffer_is_not_reclaimed", an_attached_buffer_is_not_reclaimed),
        ("held_pages_show_nothing_of_another_client", held_pages_show_nothing_of_another_client),
        ("the_cap_holds", the_cap_holds),
        ("small_buffers_return_to_their_client_only", small_buffers_return_to_their_client_only),
        ("an_idle_pool_frees_everything", an_idle_pool),
        ("memory_pressure_empties_the_pool", memory_pressure),
    ];
    tests
        .into_iter()
        .flat_map(|(name, test)| HEAPS.map(|heap| (name, test, heap)))
        .map(|(name, test, heap)| trial("pool", &format!("{name}/{heap}"), move || test(heap)))
        .collect()
}

fn stats(engine: &Engine) -> Result<PoolStats> {
    engine.pool_stats().context("the engine has no pool")
}

fn wait_until(engine: &Engine, what: &str, holds: impl Fn(&PoolStats) -> bool) -> Result<()> {
    wait::wait_until(PATIENCE, what, || stats(engine), holds)
}

fn load_whole(engine: &Engine, client: ClientId, heap: &str, file: &File) -> Result<Buffer> {
    made(load(engine, client, new_buffer(heap, 0), Policy::AUTO, file, &[WHOLE])?)
}

fn patterned(files: &Files, seed: u64) -> Result<TestFile> {
    files.patterned(&seed.to_string(), seed, SIZE_BYTES)
}

fn a_client_gets_its_released_buffer_again(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let engine = engine(POOL);
    for seed in 1..6 {
        let file = patterned(&files, seed)?;
        let before = stats(&engine)?;
        let buffer = load_whole(&engine, CAMERA, heap, &file.direct()?)?;
        let now = stats(&engine)?;
        ensure!(now.hits == before.hits + u64::from(seed > 1), "{before:?} then {now:?}");
        let bytes = contents(&buffer)?;
        assert_same(&bytes, &file.expected(0, SIZE_BYTES as usize), &format!("load {seed}"));
        drop(buffer);
        wait_until(&engine, "the buffer is back", |stats| stats.in_use == 0 && stats.free > 0)?;
    }
    Ok(())
}

/// The request itself finds the buffer that its client released just before.
fn a_released_buffer_is_found_at_once(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let engine = engine(POOL);
    for seed in 0..20 {
        let file = patterned(&files, seed)?;
        let buffer = load_whole(&engine, CAMERA, heap, &file.direct()?)?;
        let bytes = contents(&buffer)?;
        assert_same(&bytes, &file.expected(0, SIZE_BYTES as usize), &format!("load {seed}"));
    }
    // Some requests miss because the pool's thread examines the same buffer.
    let now = stats(&engine)?;
    ensure!(now.hits == 19 && now.reclaimed >= 15 && now.made < 5, "{now:?}");
    Ok(())
}

/// Buffers that a client still holds by an fd or a mapping keep their bytes.
fn a_buffer_in_use_is_not_reused(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let engine = engine(POOL);
    let file = |seed| patterned(&files, seed);
    let held = load_whole(&engine, CAMERA, heap, &file(0)?.direct()?)?;
    let mapped = load_whole(&engine, CAMERA, heap, &file(1)?.direct()?)?;
    let mapping = Mapping::shared(&mapped.fd, SIZE_BYTES as usize, MappingAccess::Read)?;
    drop(mapped);
    for seed in 2..8 {
        drop(load_whole(&engine, CAMERA, heap, &file(seed)?.direct()?)?);
    }
    assert_same(&contents(&held)?, &file(0)?.expected(0, SIZE_BYTES as usize), "held");
    let mut bytes = vec![0; SIZE_BYTES as usize];
    mapping.read(0, &mut bytes)?;
    assert_same(&bytes, &file(1)?.expected(0, SIZE_BYTES as usize), "mapped");
    Ok(())
}

fn a_reused_buffer_is_zero_after_the_file(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let engine = engine(POOL);
    drop(load_whole(&engine, CAMERA, heap, &patterned(&files, 1)?.direct()?)?);
    wait_until(&engine, "the buffer is back", |stats| stats.reclaimed == 1)?;
    // The shorter file has as many pages, and its last one is partial.
    let size_bytes = SIZE_BYTES - 1000;
    let shorter = files.patterned("shorter", 2, size_bytes)?;
    let buffer = load_whole(&engine, CAMERA, heap, &shorter.direct()?)?;
    ensure!(stats(&engine)?.hits == 1, "{:?}", stats(&engine)?);
    let bytes = contents(&buffer)?;
    let end = size_bytes as usize;
    assert_same(&bytes[..end], &shorter.expected(0, end), "loaded");
    assert_filled(&bytes[end..], 0, "the rest of the page");
    Ok(())
}

fn no_client_sees_the_bytes_of_another(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let engine = engine(POOL);
    let new = || new_buffer(heap, SIZE_BYTES);
    drop(load_whole(&engine, CAMERA, heap, &patterned(&files, 1)?.direct()?)?);
    wait_until(&engine, "the buffer is back", |stats| stats.reclaimed == 1)?;
    // Before the pool has zeroed the buffer, for the same client and for another.
    for client in [OTHER, CAMERA] {
        let bytes = contents(&allocate(&engine, client, &new())?)?;
        assert_filled(&bytes, 0, "an allocated buffer");
    }
    let short = files.patterned("short", 3, 10)?;
    let loaded = load(&engine, OTHER, new(), Policy::AUTO, &short.direct()?, &[WHOLE])?;
    let bytes = contents(&made(loaded)?)?;
    assert_same(&bytes[..10], &short.expected(0, 10), "loaded");
    assert_filled(&bytes[10..], 0, "what no segment fills");

    wait_until(&engine, "buffers are zeroed", |stats| stats.in_use == 0 && stats.free > 0)?;
    let zeroed = stats(&engine)?.zeroed_bytes;
    wait_until(&engine, "the pool counts it", |stats| stats.zeroed_bytes >= SIZE_BYTES)?;
    for _ in 0..5 {
        let hits = stats(&engine)?.hits;
        let bytes = contents(&allocate(&engine, OTHER, &new())?)?;
        assert_filled(&bytes, 0, "a buffer of the pool");
        wait_until(&engine, "it is back", |stats| stats.in_use == 0 && stats.free > 0)?;
        println!("INFO: {} hits, {zeroed} bytes zeroed", stats(&engine)?.hits - hits);
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

fn a_mapped_or_held_buffer_is_not_reclaimed(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let engine = engine(POOL);
    let file = patterned(&files, 1)?.direct()?;
    let buffer = load_whole(&engine, CAMERA, heap, &file)?;
    let mapping = Mapping::shared(&buffer.fd, 4096, MappingAccess::Read)?;
    let second = buffer.fd.try_clone()?;
    drop(buffer);
    expect_not_reclaimed(&engine, "held and mapped")?;
    drop(second);
    expect_not_reclaimed(&engine, "mapped")?;
    drop(mapping);
    wait_until(&engine, "the buffer is back", |stats| stats.reclaimed == 1)
}

fn expect_not_reclaimed(engine: &Engine, what: &str) -> Result<()> {
    std::thread::sleep(Duration::from_millis(500));
    let now = stats(engine)?;
    ensure!(now.reclaimed == 0 && now.in_use == 1, "{what}: {now:?}");
    Ok(())
}

fn an_attached_buffer_is_not_reclaimed(heap: &str) -> Result<()> {
    let node = find_card("vgem").ok_or_else(|| skip("the kernel has no vgem"))?;
    let card = open_card(&node).with_context(|| format!("opening {node:?}"))?;
    let files = Files::new()?;
    let engine = engine(POOL);
    let buffer = load_whole(&engine, CAMERA, heap, &patterned(&files, 1)?.direct()?)?;
    let attachment = GemHandle::import(card.as_fd(), &buffer.fd)?;
    drop(buffer);
    expect_not_reclaimed(&engine, "attached")?;
    drop(attachment);
    wait_until(&engine, "the buffer is back", |stats| stats.reclaimed == 1)
}

/// A client holds a page of its buffer, ends its mapping and closes the buffer. Where the kernel
/// permits that, the pool gives the buffer to nobody else.
fn held_pages_show_nothing_of_another_client(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let engine = engine(POOL);
    let (first, second) = (patterned(&files, 1)?, patterned(&files, 2)?);
    let buffer = load_whole(&engine, CAMERA, heap, &first.direct()?)?;
    let mapping = Mapping::shared(&buffer.fd, SIZE_BYTES as usize, MappingAccess::Read)?;
    let held = hold_first_page(&mapping);
    drop(mapping);
    drop(buffer);
    wait_until(&engine, "the buffer is back", |stats| stats.reclaimed == 1)?;
    let held = match held {
        Err(errno) => {
            ensure!(errno == Errno::FAULT, "the kernel answers {errno}");
            println!("INFO: the kernel lets nobody hold pages of these buffers");
            wait_until(&engine, "the pool zeroes it", |stats| stats.zeroed_bytes >= SIZE_BYTES)?;
            return Ok(());
        }
        Ok(held) => held,
    };
    wait_until(&engine, "the pool frees it", |stats| stats.freed == 1 && stats.free == 0)?;
    let loads = (0..4).map(|_| load_whole(&engine, OTHER, heap, &second.direct()?));
    let _loaded = loads.collect::<Result<Vec<Buffer>>>()?;
    let mut page = vec![0; 4096];
    File::from(held.pipe).read_exact(&mut page)?;
    ensure!(page != second.expected(0, page.len()), "the page holds bytes of another client");
    ensure!(stats(&engine)?.hits == 0, "{:?}", stats(&engine)?);
    Ok(())
}

fn the_cap_holds(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let cap_bytes = 2 * SIZE_BYTES + SIZE_BYTES / 2;
    let engine = engine(PoolConfig::of_bytes(cap_bytes));
    let file = patterned(&files, 1)?.direct()?;
    let buffers = (0..5)
        .map(|_| load_whole(&engine, CAMERA, heap, &file))
        .collect::<Result<Vec<Buffer>>>()?;
    drop(buffers);
    wait_until(&engine, "all buffers are back", |stats| stats.reclaimed == 5)?;
    let now = stats(&engine)?;
    ensure!(now.in_use == 0 && now.free_bytes <= cap_bytes && now.free == 2, "{now:?}");
    Ok(())
}

/// Uses the default configuration of the service.
fn small_buffers_return_to_their_client_only(heap: &str) -> Result<()> {
    // The last two policies need a mapping of the buffer, which the pool retains.
    [Policy::AUTO, Policy::only(PathName::Bounce), Policy::only(PathName::Buffered)]
        .into_iter()
        .try_for_each(|policy| {
            check_small_buffers(heap, policy).with_context(|| format!("{policy:?}"))
        })
}

fn check_small_buffers(heap: &str, policy: Policy) -> Result<()> {
    const SMALL_BYTES: u64 = 5000;
    let files = Files::new()?;
    let engine = engine(PoolConfig::SMALL_BUFFERS);
    let mut held = None;
    for seed in 0..20 {
        let client = if seed < 10 { CAMERA } else { OTHER };
        let file = files.patterned(&seed.to_string(), seed, SMALL_BYTES)?;
        let new = new_buffer(heap, 0);
        let buffer = made(load(&engine, client, new, policy, &file.direct()?, &[WHOLE])?)?;
        let bytes = contents(&buffer)?;
        let (loaded, rest) = bytes.split_at(SMALL_BYTES as usize);
        assert_same(loaded, &file.expected(0, loaded.len()), &format!("load {seed}"));
        assert_filled(rest, 0, "the rest of the page");
        if seed == 5 {
            held = Some((buffer, bytes));
        }
    }
    let (buffer, bytes) = held.context("no load 5")?;
    assert_same(&contents(&buffer)?, &bytes, "the buffer that its client has held");
    drop(buffer);
    // Some requests miss because the pool's thread examines the same buffer.
    let now = stats(&engine)?;
    ensure!(now.hits >= 15 && now.hits + now.misses == 20, "{now:?}");
    ensure!(now.misses >= 2, "the second client had a buffer of the first: {now:?}");
    // This pool does not retain a large buffer.
    let large = load_whole(&engine, CAMERA, heap, &patterned(&files, 20)?.direct()?)?;
    wait_until(&engine, "nothing is retained", |stats| stats.free == 0 && stats.in_use == 0)?;
    drop(large);
    let now = stats(&engine)?;
    ensure!(now.hits + now.misses == 20 && (now.made, now.zeroed_bytes) == (0, 0), "{now:?}");
    Ok(())
}

fn an_idle_pool(heap: &str) -> Result<()> {
    let files = Files::new()?;
    let idle = Duration::from_millis(500);
    let engine = engine(PoolConfig { idle, ..POOL });
    drop(load_whole(&engine, CAMERA, heap, &patterned(&files, 1)?.direct()?)?);
    wait_until(&engine, "the buffer is back", |stats| stats.reclaimed == 1)?;
    wait_until(&engine, "the pool is empty", |stats| stats.free == 0 && stats.in_use == 0)
}

fn memory_pressure(heap: &str) -> Result<()> {
    if !Path::new("/proc/pressure/memory").exists() {
        return Err(skip("the kernel has no PSI"));
    }
    let files = Files::new()?;
    let engine = engine(PoolConfig { idle: Duration::from_secs(3600), ..POOL });
    drop(load_whole(&engine, CAMERA, heap, &patterned(&files, 1)?.direct()?)?);
    wait_until(&engine, "the buffer is back", |stats| stats.reclaimed == 1)?;
    std::thread::sleep(Duration::from_secs(1));
    let before = stats(&engine)?;
    ensure!(before.free > 0, "the pool was empty without pressure: {before:?}");
    let large = files.patterned("large", 2, 64 << 20)?;
    let _pressure = Pressure::by_reading(large.path())?;
    wait_until(&engine, "the pool is empty", |stats| stats.free == 0)
}

/// A process that has less memory than the file that it reads.
struct Pressure {
    cgroup: PathBuf,
    reader: Child,
}

impl Pressure {
    fn by_reading(file: &Path) -> Result<Self> {
        let cgroup = PathBuf::from("/sys/fs/cgroup/dmabuf_pressure");
        std::fs::create_dir(&cgroup).with_context(|| format!("{}", cgroup.display()))?;
        // Above this limit the kernel makes the tasks sleep, which counts as memory pressure.
        std::fs::write(cgroup.join("memory.high"), "1M")?;
        let script = r#"echo $$ > "$0/cgroup.procs" && while :; do cat "$1"; done"#;
        let reader = Command::new("/system/bin/sh")
            .args(["-c", script])
            .args([&cgroup, file])
            .stdout(Stdio::null())
            .spawn()
            .context("starting a reader")?;
        Ok(Self { cgroup, reader })
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        let _ = std::fs::write(self.cgroup.join("cgroup.kill"), "1");
        let _ = self.reader.wait();
        // Another process may have to reap the last process first.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.cgroup).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
