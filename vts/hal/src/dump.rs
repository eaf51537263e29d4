// SPDX-License-Identifier: Apache-2.0
//! Tests of the `dumpsys` text.

use std::fs::File;
use std::io::Read;

use anyhow::{ensure, Context, Result};
use binder::binder_impl::IBinderInternal as _;
use vts_support::files::Files;
use vts_support::outcome::skip;

use crate::client::{Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("the_dump_shows_the_pool", the_dump_shows_the_pool),
    ("the_service_sees_memory_pressure", the_service_sees_memory_pressure),
    ("no_call_has_panicked", no_call_has_panicked),
];

/// Returns the `dumpsys` text of the service: through a pipe, as `dumpsys` reads it, or through a
/// file if SELinux forbids the service to write to the pipes of this client.
pub fn dumped(client: &Client) -> Result<String> {
    let mut service = (**client.loader.service()).as_binder();
    let own = std::fs::read_to_string("/proc/self/attr/current").context("own context")?;
    if ["u:r:shell:", "u:r:su:"].iter().any(|domain| own.starts_with(domain)) {
        let (read_end, write_end) = nix::unistd::pipe()?;
        service.dump(&write_end, &[]).context("dump into a pipe")?;
        drop(write_end);
        let mut text = String::new();
        File::from(read_end).read_to_string(&mut text)?;
        return Ok(text);
    }
    let files = Files::new()?;
    let path = files.path("dump");
    service.dump(&File::create(&path)?, &[]).context("dump into a file")?;
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

/// Runs after the tests of all other topics.
fn no_call_has_panicked(client: &Client) -> Result<()> {
    let text = dumped(client)?;
    ensure!(text.contains("\ncalls that panicked: 0\n"), "{text:?}");
    Ok(())
}
