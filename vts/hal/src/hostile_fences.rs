// SPDX-License-Identifier: Apache-2.0
//! Tests that a fence which does not signal stops neither a request nor the service for long.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::{DmaBuf::DmaBuf, LoaderError::LoaderError, Segment::Segment};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use dmabuf_uapi::dma_buf::CpuAccess;
use rustix::io::Errno;
use vts_support::files::Files;
use vts_support::outcome::skip;
use vts_uapi::sw_sync::Timeline;
use vts_uapi::sync_file;

use crate::buffer::{fd, View};
use crate::client::{expect_refusal, new_buffer, sized_buffer, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("a_load_into_a_fenced_buffer_is_busy", a_load_into_a_fenced_buffer_is_busy),
    ("a_save_of_a_fenced_buffer_is_busy", a_save_of_a_fenced_buffer_is_busy),
    ("fenced_buffers_do_not_keep_the_threads", fenced_buffers_do_not_keep_the_threads),
    ("blocked_calls_leave_threads_for_others", blocked_calls_leave_threads_for_others),
    ("a_released_fenced_buffer_stops_nobody", a_released_fenced_buffer_stops_nobody),
];

const SIZE_BYTES: u64 = 1 << 20;
/// For one request; the service waits for a second, the rest is for a slow device.
const BOUND: Duration = Duration::from_secs(4);

/// Puts the fence of a device that writes into a buffer; dropping the timeline signals it.
fn fence(buffer: &DmaBuf) -> Result<Timeline> {
    let timeline = Timeline::create().map_err(|errno| match errno {
        Errno::NOENT => skip("the kernel has no sw_sync"),
        Errno::ACCESS | Errno::PERM => {
            println!("EXPECT-AVC: debugfs");
            skip(format!("only root may make fences: {errno}"))
        }
        errno => anyhow::anyhow!("sw_sync: {errno}"),
    })?;
    sync_file::import(fd(buffer)?, timeline.create_fence(1)?, CpuAccess::WRITE)
        .context("import of a fence")?;
    Ok(timeline)
}

fn fenced_buffer(client: &Client, heap: &str) -> Result<(DmaBuf, Timeline)> {
    let buffer = client.loader.allocate(&sized_buffer(heap, SIZE_BYTES as i64))?;
    let timeline = fence(&buffer)?;
    Ok((buffer, timeline))
}

fn expect_busy<T>(
    request: impl FnOnce() -> std::result::Result<T, dmabuf_loader_client::ClientError>,
) -> Result<()> {
    let begin = Instant::now();
    let ended = request();
    let took = begin.elapsed();
    expect_refusal(ended, LoaderError::BUSY, "buffer: ")?;
    ensure!(took < BOUND, "BUSY after {took:?}");
    Ok(())
}

fn a_load_into_a_fenced_buffer_is_busy(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 51, SIZE_BYTES)?;
    let source = open_for_load(file.path())?;
    for heap in client.heaps()? {
        let (buffer, timeline) = fenced_buffer(client, &heap.name)?;
        let spec = LoadSpec::whole_file(&source)?.into_existing(fd(&buffer)?)?;
        expect_busy(|| client.loader.load(&spec)).with_context(|| heap.name.clone())?;
        timeline.advance(1)?;
        client.load(spec).context("after the fence has signalled")?;
        View::new(&buffer)?.expect(0, SIZE_BYTES, |done, len| file.expected(done, len))?;
    }
    Ok(())
}

fn a_save_of_a_fenced_buffer_is_busy(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let target = File::create(files.path("target"))?;
    for heap in client.heaps()? {
        let (buffer, timeline) = fenced_buffer(client, &heap.name)?;
        let spec = SaveSpec::from_buffer(fd(&buffer)?)?.file(&target)?.segment(Segment::default());
        expect_busy(|| client.loader.save(&spec)).with_context(|| heap.name.clone())?;
        timeline.advance(1)?;
        client.loader.save(spec).context("after the fence has signalled")?;
    }
    Ok(())
}

/// More requests at a time than the service has threads.
fn fenced_buffers_do_not_keep_the_threads(client: &Client) -> Result<()> {
    const REQUESTS: usize = 16;
    let files = Files::new()?;
    let file = files.patterned("f", 52, SIZE_BYTES)?;
    let source = open_for_load(file.path())?;
    let fenced = (0..REQUESTS).map(|_| fenced_buffer(client, "")).collect::<Result<Vec<_>>>()?;
    let begin = Instant::now();
    thread::scope(|scope| {
        let load = |buffer: &DmaBuf| -> Result<()> {
            let spec = LoadSpec::whole_file(&source)?.into_existing(fd(buffer)?)?;
            expect_refusal(client.loader.load(spec), LoaderError::BUSY, "buffer: ")
        };
        let loads: Vec<_> =
            fenced.iter().map(|(buffer, _)| scope.spawn(move || load(buffer))).collect();
        loads.into_iter().try_for_each(|load| load.join().expect("a load does not panic"))
    })?;
    let took = begin.elapsed();
    // Each thread of the service has had two or three of them.
    ensure!(took < 3 * BOUND, "{REQUESTS} requests took {took:?}");
    let begin = Instant::now();
    client.heaps()?;
    let took = begin.elapsed();
    ensure!(took < Duration::from_millis(500), "a call took {took:?} afterwards");
    Ok(())
}

/// More calls of one client than may block: those beyond are refused, and other calls go on.
fn blocked_calls_leave_threads_for_others(client: &Client) -> Result<()> {
    const CALLS: usize = 40;
    let files = Files::new()?;
    let file = files.patterned("f", 54, SIZE_BYTES)?;
    let source = open_for_load(file.path())?;
    let (buffer, _timeline) = fenced_buffer(client, "")?;
    let load = || -> Result<Option<LoaderError>> {
        let spec = LoadSpec::whole_file(&source)?.into_existing(fd(&buffer)?)?;
        Ok(client.loader.load(spec).err().and_then(|error| error.code()))
    };
    let (codes, asked) = thread::scope(|scope| {
        let loads: Vec<_> = (0..CALLS).map(|_| scope.spawn(load)).collect();
        let begin = Instant::now();
        let heaps = client.heaps();
        let took = begin.elapsed();
        let ended = loads.into_iter().map(|load| load.join().expect("a load does not panic"));
        let codes = ended.collect::<Result<Vec<_>>>()?;
        heaps.map(|_| (codes, took))
    })?;
    ensure!(asked < Duration::from_millis(500), "a call beside blocked ones took {asked:?}");
    let count = |code| codes.iter().filter(|ended| **ended == Some(code)).count();
    let (busy, refused) = (count(LoaderError::BUSY), count(LoaderError::QUOTA_EXCEEDED));
    ensure!(busy > 0 && refused > 0 && busy + refused == CALLS, "{codes:?}");
    Ok(())
}

/// The pool of the service may get such a buffer back.
fn a_released_fenced_buffer_stops_nobody(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 53, 5000)?;
    let source = open_for_load(file.path())?;
    for heap in client.heaps()? {
        let mut timelines = Vec::new();
        for round in 0..5 {
            let begin = Instant::now();
            let spec = LoadSpec::whole_file(&source)?.into_new(new_buffer(&heap.name));
            let buffer = client.load(spec)?.buffer.context("no buffer")?;
            let took = begin.elapsed();
            ensure!(took < BOUND, "round {round} took {took:?}");
            View::new(&buffer)?.expect(0, 5000, |done, len| file.expected(done, len))?;
            timelines.push(fence(&buffer)?);
        }
    }
    Ok(())
}
