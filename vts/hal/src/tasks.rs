// SPDX-License-Identifier: Apache-2.0
//! Tests of started requests: their result, their callback, cancelling and deadlines.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use binder::{Interface, Strong};
use dmabuf_loader_client::aidl::{
    ILoadCallback::{BnLoadCallback, ILoadCallback},
    LoaderError::LoaderError,
    RequestPriority::RequestPriority,
    TaskProgress::TaskProgress,
};
use dmabuf_loader_client::{open_for_load, LoadSpec, SaveSpec};
use vts_support::files::{Files, Mode, TestFile};

use crate::buffer::{fd, View};
use crate::client::{expect_refusal, Client, NamedTest};

pub const TESTS: &[NamedTest] = &[
    ("a_started_load_arrives_whole", a_started_load_arrives_whole),
    ("a_started_save_writes_the_bytes", a_started_save_writes_the_bytes),
    ("a_callback_is_told_of_progress_and_the_end", a_callback_is_told_of_progress_and_the_end),
    ("a_callback_is_told_of_a_failure", a_callback_is_told_of_a_failure),
    ("a_slow_callback_delays_no_load", a_slow_callback_delays_no_load),
    ("a_cancelled_load_ends_soon", a_cancelled_load_ends_soon),
    ("a_load_ends_at_its_deadline", a_load_ends_at_its_deadline),
    ("loads_of_every_priority_end", loads_of_every_priority_end),
];

const LARGE_BYTES: u64 = (300 << 20) + 123;
const LONG: Duration = Duration::from_secs(60);
/// What a batch of a load takes, and the machine's noise.
const SOON: Duration = Duration::from_secs(5);

fn spec(file: &TestFile) -> Result<LoadSpec> {
    Ok(LoadSpec::whole_file(open_for_load(file.path())?)?)
}

fn expect_bytes(
    buffer: Option<&dmabuf_loader_client::aidl::DmaBuf::DmaBuf>,
    file: &TestFile,
    len: u64,
) -> Result<()> {
    let view = View::new(buffer.context("no buffer")?)?;
    view.expect(0, len, |done, chunk| file.expected(done, chunk))?;
    view.expect_zero_from(len)
}

fn a_started_load_arrives_whole(client: &Client) -> Result<()> {
    let files = Files::new()?;
    for len in [1, 4096, (5 << 20) + 7] {
        let file = files.patterned("f", len, len)?;
        let task = client.loader.start_load(spec(&file)?, None)?;
        let loaded = task.finish().with_context(|| format!("{len} bytes"))?;
        ensure!(loaded.segmentBytes == [len as i64], "{:?}", loaded.segmentBytes);
        expect_bytes(loaded.buffer.as_ref(), &file, len)?;
    }
    Ok(())
}

fn a_started_save_writes_the_bytes(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 5, 1 << 20)?;
    let loaded = client.load(spec(&file)?)?.buffer.context("no buffer")?;
    let saved = files.patterned("saved", 6, 1 << 20)?;
    let request =
        SaveSpec::from_buffer(fd(&loaded)?)?.file(Mode::Direct.open_output(saved.path())?)?;
    let result = client.loader.start_save(request, None)?.finish()?;
    ensure!(result.segmentBytes == [1 << 20], "{:?}", result.segmentBytes);
    ensure!(std::fs::read(saved.path())? == std::fs::read(file.path())?, "other bytes");
    Ok(())
}

enum Told {
    Progress(TaskProgress),
    Completed,
    Failed(LoaderError, String),
}

struct Callback {
    told: Mutex<Sender<Told>>,
    takes: Duration,
}

impl Callback {
    fn make(takes: Duration) -> (Strong<dyn ILoadCallback>, Receiver<Told>) {
        let (told, receiver) = channel();
        let callback = Self { told: Mutex::new(told), takes };
        #[cfg(soong)]
        let callback = BnLoadCallback::new_binder(callback, binder::BinderFeatures::default());
        #[cfg(not(soong))]
        let callback = BnLoadCallback::new_binder(callback);
        (callback, receiver)
    }

    fn tell(&self, told: Told) -> binder::Result<()> {
        std::thread::sleep(self.takes);
        // A test that has ended does not listen any more.
        let _ = self.told.lock().expect("no test panics with it").send(told);
        Ok(())
    }
}

impl Interface for Callback {}

impl ILoadCallback for Callback {
    fn onProgress(&self, progress: &TaskProgress) -> binder::Result<()> {
        self.tell(Told::Progress(TaskProgress { ..*progress }))
    }

    fn onCompleted(&self) -> binder::Result<()> {
        self.tell(Told::Completed)
    }

    fn onFailed(&self, error: LoaderError, message: &str) -> binder::Result<()> {
        self.tell(Told::Failed(error, message.to_owned()))
    }
}

/// A callback that does nothing with what it is told.
pub fn ignoring_callback() -> Strong<dyn ILoadCallback> {
    Callback::make(Duration::ZERO).0
}

fn a_callback_is_told_of_progress_and_the_end(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, LARGE_BYTES)?;
    let (callback, told) = Callback::make(Duration::ZERO);
    let task = client.loader.start_load(spec(&file)?, Some(&callback))?;
    let mut reached = 0;
    loop {
        match told.recv_timeout(LONG).context("the callback was not called")? {
            Told::Progress(progress) => {
                let (moved, total) = (progress.movedBytes, progress.totalBytes);
                ensure!(reached < moved && moved <= total, "{moved} after {reached} of {total}");
                ensure!(total == LARGE_BYTES as i64 && !progress.ended, "{progress:?}");
                reached = moved;
            }
            Told::Completed => break,
            Told::Failed(error, message) => bail!("failed with {}: {message}", error.0),
        }
    }
    ensure!(reached > 0, "no progress was told");
    let progress = task.progress()?;
    ensure!(progress.ended && progress.movedBytes == LARGE_BYTES as i64, "{progress:?}");
    expect_bytes(task.finish()?.buffer.as_ref(), &file, LARGE_BYTES)
}

fn a_callback_is_told_of_a_failure(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 10_000)?;
    let (callback, told) = Callback::make(Duration::ZERO);
    let wrong = spec(&file)?.expect_sha256([0; 32]);
    let task = client.loader.start_load(wrong, Some(&callback))?;
    let (error, message) = loop {
        match told.recv_timeout(LONG).context("the callback was not called")? {
            Told::Progress(_) => {}
            Told::Completed => bail!("it is told of a result"),
            Told::Failed(error, message) => break (error, message),
        }
    };
    ensure!(error == LoaderError::DIGEST_MISMATCH, "{}: {message}", error.0);
    expect_refusal(task.finish(), error, "digests.expectedSha256: ")
}

fn a_slow_callback_delays_no_load(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 10_000)?;
    let (callback, told) = Callback::make(SOON * 2);
    let start = |_| Ok(client.loader.start_load(spec(&file)?, Some(&callback))?);
    let tasks: Result<Vec<_>> = (0..20).map(start).collect();
    let begun = Instant::now();
    for task in tasks.context("startLoad")? {
        ensure!(task.finish()?.segmentBytes == [10_000]);
    }
    ensure!(begun.elapsed() < SOON * 2, "{:?}", begun.elapsed());
    drop(told);
    Ok(())
}

fn a_cancelled_load_ends_soon(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, LARGE_BYTES)?;
    for wait in [0, 1, 5, 20, 50] {
        let task = client.loader.start_load(spec(&file)?.report_sha256(), None)?;
        std::thread::sleep(Duration::from_millis(wait));
        let begun = Instant::now();
        task.cancel()?;
        ensure!(task.wait_for(LONG)?, "it has not ended");
        ensure!(begun.elapsed() < SOON, "{:?} after {wait} ms", begun.elapsed());
        expect_refusal(task.finish(), LoaderError::CANCELLED, "the ")
            .with_context(|| format!("cancelled after {wait} ms"))?;
    }
    Ok(())
}

fn a_load_ends_at_its_deadline(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, LARGE_BYTES)?;
    let hasty =
        || Ok::<_, anyhow::Error>(spec(&file)?.report_sha256().timeout(Duration::from_millis(5)));
    let late = LoaderError::DEADLINE_EXCEEDED;
    expect_refusal(client.loader.load(hasty()?), late, "the deadline of the ")?;
    expect_refusal(client.loader.start_load(hasty()?, None)?.finish(), late, "the deadline of the ")
}

fn loads_of_every_priority_end(client: &Client) -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("f", 1, 1 << 20)?;
    let mut tasks = Vec::new();
    for _ in 0..10 {
        for priority in
            [RequestPriority::BULK, RequestPriority::NORMAL, RequestPriority::LATENCY_CRITICAL]
        {
            tasks.push(client.loader.start_load(spec(&file)?.priority(priority), None)?);
        }
    }
    for task in tasks {
        expect_bytes(task.finish()?.buffer.as_ref(), &file, 1 << 20)?;
    }
    Ok(())
}
