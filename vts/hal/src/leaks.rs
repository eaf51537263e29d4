// SPDX-License-Identifier: Apache-2.0
//! Tests that requests, failed ones in particular, leak nothing in the service.

use anyhow::{ensure, Result};
use dmabuf_loader_client::aidl::Segment::Segment;
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::Files;
use vts_support::outcome::skip;

use crate::client::{sized_buffer, Client, NamedTest};
use crate::service_state::settled;

pub const TESTS: &[NamedTest] = &[
    ("a_thousand_requests_leave_no_fd", a_thousand_requests_leave_no_fd),
    ("dropped_buffers_are_freed", dropped_buffers_are_freed),
];

/// Compares what the service has open: it may have 32768 fds, so that a leak would not stop it.
fn a_thousand_requests_leave_no_fd(client: &Client) -> Result<()> {
    let before = settled(client)?;
    let files = Files::new()?;
    let file = files.patterned("f", 1, 5000)?;
    let source = open_for_load(file.path())?;
    let outside = Segment { bufferOffsetBytes: 1 << 40, ..Default::default() };
    for round in 0..350 {
        client.load(LoadSpec::whole_file(&source)?)?;
        let bad = LoadSpec::default().file(&source)?.segment(Segment {
            bufferOffsetBytes: outside.bufferOffsetBytes,
            ..Default::default()
        });
        ensure!(client.loader.load(bad).is_err(), "round {round}");
        let mismatch = LoadSpec::whole_file(&source)?.expect_sha256([0; 32]);
        ensure!(client.loader.load(mismatch).is_err(), "round {round}");
    }
    before.expect_again(client)
}

fn dropped_buffers_are_freed(client: &Client) -> Result<()> {
    let count = || std::fs::read_dir("/sys/kernel/dmabuf/buffers").map(|entries| entries.count());
    let before = match count() {
        Ok(before) => before,
        Err(error) => {
            println!("EXPECT-AVC: sysfs_dmabuf_stats");
            return Err(skip(format!("/sys/kernel/dmabuf/buffers: {error}")));
        }
    };
    for heap in client.heaps()? {
        let allocate = |_| client.loader.allocate(&sized_buffer(&heap.name, 1 << 20));
        let buffers = (0..20).map(allocate).collect::<Result<Vec<_>, _>>()?;
        let during = count()?;
        ensure!(during >= before + 20, "{before} buffers before, {during} with 20 more");
        drop(buffers);
    }
    // The last reference to a buffer may be in a reply, which the driver frees a moment later.
    for _ in 0..50 {
        if count()? <= before {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    anyhow::bail!("{before} buffers before, {} after", count()?)
}
