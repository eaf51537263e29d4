// SPDX-License-Identifier: Apache-2.0
//! Tests with clients of several uids, which only root can start: they share what there is, and
//! none sees what another has loaded.

use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::open_for_load;
use vts_support::files::Files;
use vts_support::outcome::skip;
use vts_support::wait::wait_until;

use crate::client::{Client, NamedTest};
use crate::client_process::{ClientProcess, Role};
use crate::dump::dumped;

pub const TESTS: &[NamedTest] = &[
    ("clients_get_fair_shares", clients_get_fair_shares),
    ("nobody_sees_what_another_client_has_loaded", nobody_sees_what_another_has_loaded),
];

fn require_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err(skip("only root may have clients of other uids"))
    }
}

/// Uids that no client has: of isolated processes, see AOSP's android_filesystem_config.h.
const FIRST_UID: u32 = 99_000;
/// How many clients share, and for how long.
const CLIENTS: (&str, u32) = ("DMABUF_TEST_CLIENTS", 6);
const SECONDS: (&str, u32) = ("DMABUF_TEST_SHARE_SECONDS", 8);
/// Of the fair share.
const MIN_SHARE: f64 = 0.6;

fn setting((name, default): (&str, u32)) -> Result<u32> {
    match std::env::var(name) {
        Ok(number) => number.parse().with_context(|| format!("{name}={number}")),
        Err(_) => Ok(default),
    }
}

/// What the dump says of a uid.
fn lines_of(dump: &str, uid: u32) -> impl Iterator<Item = &str> {
    let section = dump.split("\n  uid ").find(|section| section.starts_with(&format!("{uid}:")));
    section.into_iter().flat_map(str::lines)
}

/// The bytes that the loads of a uid have moved, from the dump.
fn moved_bytes(dump: &str, uid: u32) -> u64 {
    let paths = [" direct: ", " copied: ", " buffered: "];
    let bytes = |line: &str| -> Option<u64> {
        let (_, bytes) = paths.iter().find_map(|path| line.split_once(path))?;
        bytes.strip_suffix(" bytes")?.parse().ok()
    };
    lines_of(dump, uid).filter_map(bytes).sum()
}

fn clients_get_fair_shares(client: &Client) -> Result<()> {
    const SIZE_BYTES: u64 = 32 << 20;
    const SEED: u64 = 74;
    require_root()?;
    let files = Files::new()?;
    let file = files.patterned("f", SEED, SIZE_BYTES)?;
    let uids = FIRST_UID..FIRST_UID + setting(CLIENTS)?;
    let start = |uid| {
        let source = open_for_load(file.path())?;
        ClientProcess::start(client, Role::Parts(SIZE_BYTES, SEED), source, Some(uid))
    };
    let mut clients = uids.clone().map(start).collect::<Result<Vec<_>>>()?;
    let moved = || -> Result<Vec<u64>> {
        let dump = dumped(client)?;
        Ok(uids.clone().map(|uid| moved_bytes(&dump, uid)).collect())
    };
    let before = moved()?;
    thread::sleep(Duration::from_secs(setting(SECONDS)?.into()));
    let after = moved()?;
    clients.iter_mut().try_for_each(ClientProcess::expect_running)?;
    drop(clients);
    let during: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    let fair = during.iter().sum::<u64>() as f64 / during.len() as f64;
    let least = during.iter().min().copied().unwrap_or(0) as f64 / fair;
    println!("INFO: the least share is {least:.2} of the fair one; bytes: {during:?}");
    ensure!(least >= MIN_SHARE, "one client got {least:.2} of its fair share: {during:?}");
    Ok(())
}

/// The requests of a uid that succeeded, from the dump.
fn completed(dump: &str, uid: u32) -> u64 {
    let number = |line: &str| line.trim_start().strip_prefix("completed requests: ")?.parse().ok();
    lines_of(dump, uid).find_map(number).unwrap_or(0)
}

/// One client fills buffers and frees them, another gets buffers of the same sizes, of which a load
/// fills one byte.
fn nobody_sees_what_another_has_loaded(client: &Client) -> Result<()> {
    const LOADS: u64 = 60;
    const PATIENCE: Duration = Duration::from_secs(60);
    require_root()?;
    let files = Files::new()?;
    let [writer, reader] = [FIRST_UID + 100, FIRST_UID + 101];
    // A size that the pool keeps for its client alone, and one that it zeroes.
    for size_bytes in [64 << 10, 4 << 20] {
        let file = files.patterned("f", 75, size_bytes)?;
        let start =
            |role, uid| ClientProcess::start(client, role, open_for_load(file.path())?, Some(uid));
        let mut processes =
            [start(Role::Whole, writer)?, start(Role::OneByte(size_bytes), reader)?];
        let begin = completed(&dumped(client)?, reader);
        let look = || -> Result<u64> { Ok(completed(&dumped(client)?, reader) - begin) };
        let waited = wait_until(PATIENCE, "the loads of the reader", look, |done| *done >= LOADS);
        processes.iter_mut().try_for_each(ClientProcess::expect_running)?;
        waited?;
    }
    Ok(())
}
