// SPDX-License-Identifier: Apache-2.0
//! What `dumpsys` shows.

use std::fs::File;
use std::io::Read;

use anyhow::{ensure, Context, Result};
use binder::binder_impl::IBinderInternal as _;
use vts_support::files::Files;

use crate::client::{Client, NamedTest};

pub const TESTS: &[NamedTest] =
    &[("the_dump_says_whether_there_is_a_pool", the_dump_says_whether_there_is_a_pool)];

/// What the service writes, into a pipe as from `dumpsys`, or into a file of a client whose pipes it may not use.
fn dumped(client: &Client) -> Result<String> {
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

fn the_dump_says_whether_there_is_a_pool(client: &Client) -> Result<()> {
    let text = dumped(client)?;
    println!("INFO: {text}");
    let with_pool = text.starts_with("pool: on\n") && text.contains("\n  buffers ready: ");
    ensure!(with_pool || text == "pool: off\n", "{text:?}");
    Ok(())
}
