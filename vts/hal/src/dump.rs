// SPDX-License-Identifier: Apache-2.0
//! Tests of the `dumpsys` text.

use std::fs::File;
use std::io::Read;

use anyhow::{ensure, Context, Result};
use binder::binder_impl::IBinderInternal as _;
use dmabuf_loader_client::aidl::{ClientUsage::ClientUsage, LoaderError::LoaderError};
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::Files;
use vts_support::outcome::skip;

use crate::client::{expect_refusal, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("the_dump_shows_the_pool", the_dump_shows_the_pool),
    ("the_service_sees_memory_pressure", the_service_sees_memory_pressure),
    ("the_dump_shows_the_client_and_its_last_error", the_dump_shows_the_client),
    ("the_dump_is_json_on_request", the_dump_is_json_on_request),
    ("usage_counts_the_clients_requests", usage_counts_the_clients_requests),
    ("no_call_has_panicked", no_call_has_panicked),
];

/// Returns the `dumpsys` text of the service: through a pipe, as `dumpsys` reads it, or through a
/// file if SELinux forbids the service to write to the pipes of this client.
pub fn dumped(client: &Client) -> Result<String> {
    dumped_with(client, &[])
}

fn dumped_with(client: &Client, arguments: &[&str]) -> Result<String> {
    let mut service = (**client.loader.service()).as_binder();
    let own = std::fs::read_to_string("/proc/self/attr/current").context("own context")?;
    if ["u:r:shell:", "u:r:su:"].iter().any(|domain| own.starts_with(domain)) {
        let (read_end, write_end) = nix::unistd::pipe()?;
        service.dump(&write_end, arguments).context("dump into a pipe")?;
        drop(write_end);
        let mut text = String::new();
        File::from(read_end).read_to_string(&mut text)?;
        return Ok(text);
    }
    let files = Files::new()?;
    let path = files.path("dump");
    service.dump(&File::create(&path)?, arguments).context("dump into a file")?;
    Ok(std::fs::read_to_string(&path)?)
}

fn the_dump_shows_the_pool(client: &Client) -> Result<()> {
    let text = dumped(client)?;
    println!("INFO: {text}");
    let with_pool = text.starts_with("pool: on\n") && text.contains("\n  free buffers: ");
    ensure!(with_pool || text.starts_with("pool: off\n"), "{text:?}");
    Ok(())
}

/// Every GKI kernel has PSI; its file mode and SELinux let the service read it.
fn the_service_sees_memory_pressure(client: &Client) -> Result<()> {
    let text = dumped(client)?;
    if text.starts_with("pool: off\n") {
        return Err(skip("the service has no pool, which would free its memory"));
    }
    ensure!(text.contains("\n  memory pressure: watched\n"), "{text:?}");
    Ok(())
}

/// A refused call and a load of this uid, by its message and its number.
fn the_dump_shows_the_client(client: &Client) -> Result<()> {
    let unknown = client.loader.allocate(&sized_buffer("no-such-heap", 4096));
    expect_refusal(unknown, LoaderError::HEAP_UNKNOWN, "")?;
    let text = dumped(client)?;
    let uid = nix::unistd::getuid().as_raw();
    let own = text.split("\n  uid ").find(|part| part.starts_with(&format!("{uid}:")));
    let own = own.with_context(|| format!("uid {uid} is missing: {text}"))?;
    for part in [" ms ago, allocate failed with 4: ", "no-such-heap", "\n    blocking calls: "] {
        ensure!(own.contains(part), "{part:?} is missing: {own}");
    }
    Ok(())
}

fn the_dump_is_json_on_request(client: &Client) -> Result<()> {
    let text = dumped_with(client, &["--json"])?;
    let is_object = text.starts_with("{\"pool\":") && text.trim_end().ends_with("]}");
    ensure!(is_object && text.contains("\"clients\":[{\"uid\":"), "{text}");
    let unknown = dumped_with(client, &["--xml\n"])?;
    ensure!(unknown == "\"--xml\\n\" is not known, expected --json or nothing\n", "{unknown:?}");
    Ok(())
}

fn usage_counts_the_clients_requests(client: &Client) -> Result<()> {
    const SIZE_BYTES: u64 = 1 << 20;
    let files = Files::new()?;
    let file = files.patterned("f", 91, SIZE_BYTES)?;
    let before = client.loader.usage()?;
    client.load(LoadSpec::whole_file(open_for_load(file.path())?)?)?;
    let refused = client.loader.allocate(&sized_buffer("no-such-heap", 4096));
    expect_refusal(refused, LoaderError::HEAP_UNKNOWN, "")?;
    let after = client.loader.usage()?;
    let moved = |usage: &ClientUsage| usage.directBytes + usage.copiedBytes;
    ensure!(after.completedRequests == before.completedRequests + 1, "{before:?}, {after:?}");
    ensure!(after.failedCalls == before.failedCalls + 1, "{before:?}, {after:?}");
    ensure!(moved(&after) == moved(&before) + SIZE_BYTES as i64, "{before:?}, {after:?}");
    ensure!(after.resources.iter().all(|usage| usage.held == 0 && usage.limit > 0), "{after:?}");
    Ok(())
}

/// Runs after the tests of all other topics.
fn no_call_has_panicked(client: &Client) -> Result<()> {
    let text = dumped(client)?;
    ensure!(text.contains("\ncalls that panicked: 0\n"), "{text:?}");
    Ok(())
}
