// SPDX-License-Identifier: Apache-2.0
//! Tests of what only the virtual device promises: its file system, and the service as this project
//! installs it. `$DMABUF_TEST_VIRTUAL_DEVICE` selects them.

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::file_attributes::file_system_magic;
use vts_support::files::Files;
use vts_support::outcome::skip;

use crate::client::{require_direct_io, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("test_files_are_on_f2fs", test_files_are_on_f2fs),
    ("the_service_has_its_own_domain_and_uid", the_service_has_its_own_domain_and_uid),
];

/// Whether the module runs on the virtual device.
pub fn is_selected() -> bool {
    std::env::var_os("DMABUF_TEST_VIRTUAL_DEVICE").is_some()
}

const F2FS_MAGIC: u64 = 0xf2f5_2010;
const SERVICE_DOMAIN: &str = "u:r:hal_dmabuf_loader_default:s0";

/// Where they are not, or have no direct I/O, tests of other topics skip.
fn test_files_are_on_f2fs(_: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 4096)?.buffered()?;
    let magic = file_system_magic(&file)?;
    ensure!(magic == F2FS_MAGIC, "test files are on a file system of type {magic:#x}");
    require_direct_io(&files).context("test files have no direct I/O")
}

fn the_service_has_its_own_domain_and_uid(_: &Client) -> Result<()> {
    let own = std::fs::read_to_string("/proc/self/attr/current").context("own context")?;
    if !["u:r:shell:", "u:r:su:"].iter().any(|domain| own.starts_with(domain)) {
        return Err(skip("only shell and su may look at the processes of other domains"));
    }
    let processes = std::fs::read_dir("/proc").context("/proc")?.flatten();
    let service = processes.map(|entry| entry.path()).find(|path| {
        std::fs::read(path.join("cmdline"))
            .is_ok_and(|line| line.starts_with(b"/vendor/bin/hw/vendor.dmabuf.loader-service\0"))
    });
    let service = service.context("no process of the service")?;
    let Ok(context) = std::fs::read_to_string(service.join("attr/current")) else {
        println!("EXPECT-AVC: getattr");
        return Err(skip("this client may not read the context of other processes"));
    };
    let context = context.trim_end_matches('\0');
    let status = std::fs::read_to_string(service.join("status")).context("status")?;
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("");
    let uids: Vec<&str> = line("Uid:").split_whitespace().collect();
    println!(
        "INFO: service context {context}, uid {}, capabilities {}",
        uids[0],
        line("CapEff:").trim()
    );
    ensure!(context == SERVICE_DOMAIN, "the service runs as {context}, expected {SERVICE_DOMAIN}");
    ensure!(uids.len() == 4, "four uids in {status}");
    ensure!(uids.iter().all(|uid| *uid == uids[0] && *uid != "0"), "uids {uids:?}");
    ensure!(
        line("CapEff:").trim().bytes().all(|digit| digit == b'0'),
        "the service has capabilities"
    );
    Ok(())
}
