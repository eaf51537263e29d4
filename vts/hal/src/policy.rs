// SPDX-License-Identifier: Apache-2.0
//! Tests that the policy of a request is obeyed, or that the request fails with the reason.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{
    LoadPath::LoadPath, LoaderError::LoaderError, NotTakenReason::NotTakenReason,
    PathPolicy::PathPolicy, Segment::Segment,
};
use dmabuf_loader_client::{open_for_load, LoadSpec};
use vts_support::files::{Files, Mode, TestFile};
use vts_uapi::lease::take_write_lease;

use crate::buffer::{fd, View};
use crate::client::{
    expect_refusal, new_buffer, require_direct_io, sized_buffer, Client, NamedTest,
};

pub const TESTS: &[NamedTest] = &[
    ("require_direct_loads_directly", require_direct_loads_directly),
    ("require_direct_fails_with_the_reason", require_direct_fails_with_the_reason),
    ("a_lease_on_the_file_is_not_waited_for", a_lease_on_the_file_is_not_waited_for),
    ("the_buffered_path_can_be_named", the_buffered_path_can_be_named),
    ("copy_file_range_can_be_named", copy_file_range_can_be_named),
    ("permitted_paths_are_tried_in_order", permitted_paths_are_tried_in_order),
    ("unknown_policies_are_refused", unknown_policies_are_refused),
];

const SIZE_BYTES: u64 = (2 << 20) + 3;

fn spec(client: &Client, file: &TestFile, policy: PathPolicy) -> Result<LoadSpec> {
    let source = open_for_load(file.path())?;
    let heap = client.best_heap()?.name;
    let mut spec = LoadSpec::whole_file(&source)?.into_new(new_buffer(&heap));
    spec.request.policy = policy;
    Ok(spec)
}

/// The kernel lets whoever opens a leased file wait for 45 s by default.
fn a_lease_on_the_file_is_not_waited_for(client: &Client) -> Result<()> {
    const AT_ONCE: Duration = Duration::from_secs(20);
    let files = Files::new()?;
    let file = files.patterned("f", 1, SIZE_BYTES)?;
    let source = Mode::Buffered.open_output(file.path())?;
    take_write_lease(&source).context("F_SETLEASE")?;
    let heap = client.best_heap()?.name;
    let load = |policy| {
        let mut spec = LoadSpec::whole_file(&source)?.into_new(new_buffer(&heap));
        spec.request.policy = policy;
        client.loader.load(spec)
    };
    let begin = Instant::now();
    let argument = "policy: REQUIRE_DIRECT cannot be kept for segments[0]: ";
    let refused = load(PathPolicy::REQUIRE_DIRECT);
    expect_refusal(refused, LoaderError::DIRECT_IO_UNAVAILABLE, argument)?;
    let result = load(PathPolicy::AUTO)?;
    ensure!(begin.elapsed() < AT_ONCE, "two loads took {:?}", begin.elapsed());
    let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
    view.expect(0, SIZE_BYTES, |done, len| file.expected(done, len))
}

/// Covers every heap that has a direct path.
fn require_direct_loads_directly(client: &Client) -> Result<()> {
    let files = Files::new()?;
    require_direct_io(&files)?;
    let file = files.patterned("f", 1, SIZE_BYTES)?;
    let paths = client.loader.capabilities()?.paths;
    let mut direct_loads = 0;
    for heap in client.heaps()? {
        let direct = [LoadPath::COPY_FILE_RANGE, LoadPath::UDMABUF_DIRECT];
        let supported =
            |path| paths.iter().any(|p| p.heap == heap.name && p.path == path && p.supported);
        let mut required = spec(client, &file, PathPolicy::REQUIRE_DIRECT)?;
        required = required.into_new(new_buffer(&heap.name));
        let loaded = client.loader.load(required);
        if !direct.into_iter().any(supported) {
            let argument = "policy: REQUIRE_DIRECT cannot be kept for segments[0]: ";
            expect_refusal(loaded, LoaderError::DIRECT_IO_UNAVAILABLE, argument)?;
            continue;
        }
        let report = loaded?.report;
        ensure!(report.direct && direct.contains(&report.path), "{}: {report:?}", heap.name);
        // At most the last block is read buffered.
        ensure!(report.bufferedBytes < 4096, "{}: {report:?}", heap.name);
        direct_loads += 1;
    }
    ensure!(direct_loads > 0, "no heap has a direct path");
    Ok(())
}

fn require_direct_fails_with_the_reason(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 2, SIZE_BYTES)?;
    let mut unaligned = spec(client, &file, PathPolicy::REQUIRE_DIRECT)?;
    unaligned.request.segments = vec![Segment { bufferOffsetBytes: 1, ..Default::default() }];
    let argument = "policy: REQUIRE_DIRECT cannot be kept for segments[0]: ";
    expect_refusal(client.loader.load(unaligned), LoaderError::DIRECT_IO_UNAVAILABLE, argument)
}

fn the_buffered_path_can_be_named(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 3, SIZE_BYTES)?;
    let named = spec(client, &file, PathPolicy::AUTO)?.paths([LoadPath::BUFFERED]);
    let result = client.load(named)?;
    let report = &result.report;
    ensure!(report.path == LoadPath::BUFFERED && !report.direct, "{report:?}");
    ensure!(report.notTaken.len() == 4, "{report:?}");
    let excluded = NotTakenReason::EXCLUDED_BY_POLICY;
    ensure!(report.notTaken.iter().all(|not_taken| not_taken.reason == excluded), "{report:?}");
    let view = View::new(result.buffer.as_ref().context("no buffer")?)?;
    view.expect(0, SIZE_BYTES, |done, len| file.expected(done, len))
}

fn copy_file_range_can_be_named(client: &Client) -> Result<()> {
    client.require_copy_file_range(&client.best_heap()?.name)?;
    let files = Files::new()?;
    let file = files.patterned("f", 4, SIZE_BYTES)?;
    let named = spec(client, &file, PathPolicy::AUTO)?.paths([LoadPath::COPY_FILE_RANGE]);
    let report = client.load(named)?.report;
    ensure!(report.path == LoadPath::COPY_FILE_RANGE, "{report:?}");
    Ok(())
}

fn unknown_policies_are_refused(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 5, 4096)?;
    for policy in [-1, 2, i32::MAX] {
        let refused = client.loader.load(spec(client, &file, PathPolicy(policy))?);
        expect_refusal(refused, LoaderError::BAD_ARGUMENT, "policy: ")?;
    }
    for (paths, argument) in [
        (vec![LoadPath::BOUNCE, LoadPath(99)], "paths[1]: "),
        (vec![LoadPath::BOUNCE, LoadPath::BUFFERED, LoadPath::BOUNCE], "paths: "),
        (vec![LoadPath::BOUNCE; 10_000], "paths: "),
    ] {
        let refused = client.loader.load(spec(client, &file, PathPolicy::AUTO)?.paths(paths));
        expect_refusal(refused, LoaderError::BAD_ARGUMENT, argument)?;
    }
    Ok(())
}

fn permitted_paths_are_tried_in_order(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 6, SIZE_BYTES)?;
    let spec = |paths: &[LoadPath]| -> Result<LoadSpec> {
        let buffer = client.loader.allocate(&sized_buffer("", SIZE_BYTES as i64))?;
        let source = open_for_load(file.path())?;
        Ok(LoadSpec::whole_file(&source)?.into_existing(fd(&buffer)?)?.paths(paths.to_vec()))
    };
    // The expensive one first, and one that is never possible for a buffer that exists.
    let (direct, buffered) = (LoadPath::UDMABUF_DIRECT, LoadPath::BUFFERED);
    for paths in [&[buffered, LoadPath::BOUNCE][..], &[direct, buffered]] {
        let report = client.load(spec(paths)?)?.report;
        ensure!(report.path == buffered, "{paths:?}: {report:?}");
    }
    let refused = client.loader.load(spec(&[direct])?);
    expect_refusal(refused, LoaderError::PATH_UNAVAILABLE, "paths: none is possible for ")?;
    let mut required = spec(&[buffered])?;
    required.request.policy = PathPolicy::REQUIRE_DIRECT;
    let argument =
        "policy: REQUIRE_DIRECT cannot be kept for segments[0]: no path that the request";
    expect_refusal(client.loader.load(required), LoaderError::DIRECT_IO_UNAVAILABLE, argument)
}
