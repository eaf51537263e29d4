// SPDX-License-Identifier: Apache-2.0
//! Tests of the environment that every device has.

use anyhow::{ensure, Context, Result};

use crate::client::{Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("selinux_is_enforcing", selinux_is_enforcing),
    ("the_interface_has_a_version", the_interface_has_a_version),
];

fn selinux_is_enforcing(_: &Client) -> Result<()> {
    let enforce = std::fs::read_to_string("/sys/fs/selinux/enforce").context("selinuxfs")?;
    let context = std::fs::read_to_string("/proc/self/attr/current").context("own context")?;
    println!("INFO: enforcing = {enforce}, client context {}", context.trim_end_matches('\0'));
    ensure!(enforce == "1", "SELinux is not enforcing: {enforce:?}");
    Ok(())
}

/// Later versions of the interface only add to version 1, which this module tests.
fn the_interface_has_a_version(client: &Client) -> Result<()> {
    let version = (**client.loader.service()).getInterfaceVersion();
    ensure!(version.as_ref().is_ok_and(|version| *version >= 1), "{version:?}");
    Ok(())
}
