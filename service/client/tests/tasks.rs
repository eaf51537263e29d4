// SPDX-License-Identifier: Apache-2.0
//! Tests of started requests against the embedded service over a unix socket.

mod fixture;

use std::fs::File;
use std::time::{Duration, Instant};

use dmabuf_loader_client::aidl::{
    LoadResult::LoadResult, LoaderError::LoaderError, NewBuffer::NewBuffer,
    RequestPriority::RequestPriority,
};
use dmabuf_loader_client::{ClientError, LoadSpec, SaveSpec, Task};

use fixture::{fixture, Fixture};

/// How many requests of one client run at a time.
const RUNNING: usize = 4;
const LONG: Duration = Duration::from_secs(60);

impl Fixture {
    fn file(&self, bytes: &[u8]) -> File {
        let path = self.directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        File::open(&path).unwrap()
    }

    /// A load that takes long: much to digest, nothing to read.
    fn slow(&self) -> LoadSpec {
        let path = self.directory.path().join("sparse");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.unwrap();
        file.set_len(256 << 20).unwrap();
        LoadSpec::whole_file(&file).unwrap().into_new(memfd()).report_sha256()
    }

    /// As many as run at a time, so that the next one waits.
    fn occupied(&self) -> Vec<Task<LoadResult>> {
        (0..RUNNING).map(|_| self.loader.start_load(self.slow(), None).unwrap()).collect()
    }
}

fn memfd() -> NewBuffer {
    NewBuffer { heap: "memfd".to_owned(), ..Default::default() }
}

fn code<T>(result: Result<T, ClientError>) -> Option<LoaderError> {
    result.err().and_then(|error| error.code())
}

fn taken(task: &Task<LoadResult>) -> Option<LoaderError> {
    let taken = task.service().takeResult();
    taken.err().map(|status| LoaderError(status.service_specific_error()))
}

#[test]
fn a_started_load_gives_its_result_once() {
    let fixture = fixture();
    let file = fixture.file(&[7; 10_000]);
    let spec = LoadSpec::whole_file(&file).unwrap().into_new(memfd());
    let task = fixture.loader.start_load(&spec, None).unwrap();
    assert!(task.wait_for(LONG).unwrap());
    let progress = task.progress().unwrap();
    assert_eq!((progress.movedBytes, progress.totalBytes, progress.ended), (10_000, 10_000, true));
    let result = task.service().takeResult().unwrap();
    let result: LoadResult = dmabuf_loader_client::Outcome::from_wire(result).unwrap();
    assert_eq!(result.segmentBytes, [10_000]);
    assert_eq!(taken(&task), Some(LoaderError::RESULT_TAKEN));
    let result = fixture.loader.start_load(&spec, None).unwrap().finish().unwrap();
    assert_eq!(result.buffer.unwrap().sizeBytes, 12_288);
}

#[test]
fn a_started_save_gives_its_result() {
    let fixture = fixture();
    let file = fixture.file(&[7; 10_000]);
    let spec = LoadSpec::whole_file(&file).unwrap().into_new(memfd());
    let buffer = fixture.loader.load(spec).unwrap().buffer.unwrap().fd.unwrap();
    let path = fixture.directory.path().join("saved");
    let saved = File::create(&path).unwrap();
    let spec = SaveSpec::from_buffer(buffer.as_ref()).unwrap().file(&saved).unwrap();
    let result = fixture.loader.start_save(spec, None).unwrap().finish().unwrap();
    assert_eq!(result.segmentBytes, [12_288]);
    assert_eq!(std::fs::read(path).unwrap()[..10_000], [7; 10_000]);
}

#[test]
fn errors_of_the_transfer_come_with_the_result() {
    let fixture = fixture();
    let file = fixture.file(&[7; 10_000]);
    let spec = LoadSpec::whole_file(&file).unwrap().into_new(memfd()).expect_sha256([0; 32]);
    let task = fixture.loader.start_load(spec, None).unwrap();
    assert_eq!(code(task.finish()), Some(LoaderError::DIGEST_MISMATCH));
}

#[test]
fn what_waits_ends_at_once_when_cancelled() {
    let fixture = fixture();
    let occupied = fixture.occupied();
    let waiting = fixture.loader.start_load(fixture.slow(), None).unwrap();
    assert_eq!(taken(&waiting), Some(LoaderError::NOT_ENDED));
    assert!(!waiting.wait_for(Duration::ZERO).unwrap());
    waiting.cancel().unwrap();
    assert!(waiting.progress().unwrap().ended);
    assert_eq!(code(waiting.finish()), Some(LoaderError::CANCELLED));
    occupied.iter().for_each(|task| task.cancel().unwrap());
    let begun = Instant::now();
    for task in occupied {
        assert_eq!(code(task.finish()), Some(LoaderError::CANCELLED));
    }
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
}

#[test]
fn a_deadline_holds_in_the_queue() {
    let fixture = fixture();
    let _occupied = fixture.occupied();
    let spec = fixture.slow().timeout(Duration::from_millis(1));
    let late = fixture.loader.start_load(spec, None).unwrap();
    assert!(late.wait_for(LONG).unwrap());
    assert_eq!(code(late.finish()), Some(LoaderError::DEADLINE_EXCEEDED));
}

#[test]
fn all_who_wait_for_a_task_learn_of_its_end() {
    let fixture = fixture();
    let task = fixture.loader.start_load(fixture.slow(), None).unwrap();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..8).map(|_| scope.spawn(|| task.wait_for(LONG))).collect();
        task.cancel().unwrap();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap().unwrap()));
    });
}

#[test]
fn tasks_and_the_queue_have_limits_and_are_given_back() {
    let fixture = fixture();
    for _ in 0..2 {
        let mut tasks = fixture.occupied();
        let refused = loop {
            match fixture.loader.start_load(fixture.slow(), None) {
                Ok(task) => tasks.push(task),
                Err(error) => break error,
            }
            assert!(tasks.len() < 1000);
        };
        assert_eq!(refused.code(), Some(LoaderError::QUOTA_EXCEEDED));
        let text = refused.to_string();
        assert!(text.contains("1 more queued requests asked for"), "{text}");
        assert!(text.contains("holds 64 of at most 64"), "{text}");
        drop(tasks);
        // What is dropped ends a moment later.
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn wrong_arguments_of_tasks_are_named() {
    let fixture = fixture();
    let refusal = |spec| fixture.loader.start_load(spec, None).err().unwrap().to_string();
    let mut spec = fixture.slow();
    spec.request.timeoutMillis = -1;
    assert!(refusal(spec).contains("timeoutMillis: is -1, expected 0 or more"));
    let mut spec = fixture.slow().priority(RequestPriority::BULK);
    spec.request.priority = RequestPriority(9);
    assert!(refusal(spec).contains("priority: 9 is not a RequestPriority"));
    let task = fixture.loader.start_load(fixture.slow(), None).unwrap();
    let status = task.service().waitFor(-5).unwrap_err();
    assert!(status.to_string().contains("timeoutMillis: is -5"), "{status}");
}

#[test]
fn a_blocking_load_ends_at_its_deadline() {
    let fixture = fixture();
    let spec = fixture.slow().timeout(Duration::from_millis(1));
    assert_eq!(code(fixture.loader.load(spec)), Some(LoaderError::DEADLINE_EXCEEDED));
}
