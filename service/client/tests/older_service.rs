// SPDX-License-Identifier: Apache-2.0
//! Tests of started requests with a service that knows only the blocking calls.

mod fixture;

use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use binder::rpc::{serve_unix, Limits, UnixServer};
use binder::{Interface, StatusCode, Strong};
use dmabuf_loader_client::aidl::{
    Capabilities::Capabilities,
    ClientUsage::ClientUsage,
    DmaBuf::DmaBuf,
    HeapInfo::HeapInfo,
    IDmaBufLoader::{BnDmaBufLoader, IDmaBufLoader},
    ILoadCallback::{BnLoadCallback, ILoadCallback},
    ILoadTask::ILoadTask,
    LoadRequest::LoadRequest,
    LoadResult::LoadResult,
    LoaderError::LoaderError,
    NewBuffer::NewBuffer,
    SaveRequest::SaveRequest,
    SaveResult::SaveResult,
    TaskProgress::TaskProgress,
};
use dmabuf_loader_client::{ClientError, LoadSpec, Loader, SaveSpec};

use fixture::{fixture, Fixture};

/// Answers as a service whose interface ends with the blocking calls.
struct Older(Loader);

impl Interface for Older {}

impl IDmaBufLoader for Older {
    fn getHeaps(&self) -> binder::Result<Vec<HeapInfo>> {
        self.0.service().getHeaps()
    }

    fn getCapabilities(&self) -> binder::Result<Capabilities> {
        self.0.service().getCapabilities()
    }

    fn allocate(&self, request: &NewBuffer) -> binder::Result<DmaBuf> {
        self.0.service().allocate(request)
    }

    fn load(&self, request: &LoadRequest) -> binder::Result<LoadResult> {
        self.0.service().load(request)
    }

    fn save(&self, request: &SaveRequest) -> binder::Result<SaveResult> {
        self.0.service().save(request)
    }

    fn startLoad(
        &self,
        _: &LoadRequest,
        _: Option<&Strong<dyn ILoadCallback>>,
    ) -> binder::Result<Strong<dyn ILoadTask>> {
        Err(StatusCode::UnknownTransaction.into())
    }

    fn getUsage(&self) -> binder::Result<ClientUsage> {
        Err(StatusCode::UnknownTransaction.into())
    }

    fn startSave(
        &self,
        _: &SaveRequest,
        _: Option<&Strong<dyn ILoadCallback>>,
    ) -> binder::Result<Strong<dyn ILoadTask>> {
        Err(StatusCode::UnknownTransaction.into())
    }
}

struct OlderFixture {
    loader: Loader,
    fixture: Fixture,
    _server: UnixServer,
}

fn older() -> OlderFixture {
    let fixture = fixture();
    let socket = fixture.directory.path().join("older");
    let service = BnDmaBufLoader::new_binder(Older(fixture.loader.clone()));
    let name = "vendor.dmabuf.loader.IDmaBufLoader/default";
    let server = serve_unix(&socket, name, service.as_binder(), Limits::default()).unwrap();
    OlderFixture { loader: Loader::connect_unix(&socket).unwrap(), fixture, _server: server }
}

impl OlderFixture {
    fn load(&self, bytes: &[u8]) -> LoadSpec {
        let path = self.fixture.directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let memfd = NewBuffer { heap: "memfd".to_owned(), ..Default::default() };
        LoadSpec::whole_file(File::open(path).unwrap()).unwrap().into_new(memfd)
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn callback(&self) -> Strong<dyn ILoadCallback> {
        BnLoadCallback::new_binder(self.clone())
    }

    fn tell(&self, what: String) -> binder::Result<()> {
        self.0.lock().unwrap().push(what);
        Ok(())
    }
}

impl Interface for Told {}

impl ILoadCallback for Told {
    fn onProgress(&self, progress: &TaskProgress) -> binder::Result<()> {
        self.tell(format!("{} bytes", progress.movedBytes))
    }

    fn onCompleted(&self) -> binder::Result<()> {
        self.tell("completed".to_owned())
    }

    fn onFailed(&self, error: LoaderError, message: &str) -> binder::Result<()> {
        self.tell(format!("failed with {}: {message}", error.0))
    }
}

#[test]
fn a_load_ends_in_the_call_that_starts_it() {
    let older = older();
    let told = Told::default();
    let task = older.loader.start_load(older.load(&[7; 10_000]), Some(&told.callback())).unwrap();
    assert_eq!(*told.0.lock().unwrap(), ["completed"]);
    assert!(task.wait_for(Duration::ZERO).unwrap());
    task.cancel().unwrap();
    let progress = task.progress().unwrap();
    assert_eq!((progress.movedBytes, progress.totalBytes, progress.ended), (10_000, 10_000, true));
    let object = task.service().clone();
    assert_eq!(task.finish().unwrap().segmentBytes, [10_000]);
    let code = object.takeResult().map(drop).unwrap_err().service_specific_error();
    assert_eq!(LoaderError(code), LoaderError::RESULT_TAKEN);
}

#[test]
fn a_save_ends_in_the_call_that_starts_it() {
    let older = older();
    let loaded = older.loader.load(older.load(&[7; 4096])).unwrap();
    let path = older.fixture.directory.path().join("saved");
    let target = File::create(&path).unwrap();
    let buffer = loaded.buffer.unwrap().fd.unwrap();
    let spec = SaveSpec::from_buffer(buffer.as_ref()).unwrap().file(&target).unwrap();
    assert_eq!(older.loader.start_save(spec, None).unwrap().finish().unwrap().segmentBytes, [4096]);
    assert_eq!(std::fs::read(path).unwrap(), [7; 4096]);
}

#[test]
fn an_error_of_the_blocking_call_is_the_tasks() {
    let older = older();
    let told = Told::default();
    let spec = older.load(b"bytes").expect_sha256([0; 32]);
    let task = older.loader.start_load(spec, Some(&told.callback())).unwrap();
    let told = told.0.lock().unwrap().join(", ");
    let expected = format!("failed with {}: digests", LoaderError::DIGEST_MISMATCH.0);
    assert!(told.starts_with(&expected), "{told}");
    assert_eq!(task.progress().unwrap().movedBytes, 0);
    let error = task.finish().unwrap_err();
    assert_eq!(error.code(), Some(LoaderError::DIGEST_MISMATCH), "{error}");
}

/// Only an unknown call falls back: a service that died, or refuses, is not asked a second time.
#[test]
fn other_errors_of_starting_stay_errors() {
    let older = older();
    let mut spec = older.load(b"bytes");
    spec.request.timeoutMillis = -1;
    let error = older.fixture.loader.start_load(spec, None).err().unwrap();
    assert_eq!(error.code(), Some(LoaderError::BAD_ARGUMENT));
    let OlderFixture { loader, fixture, _server } = older;
    drop((_server, fixture));
    let tmpfs = dmabuf_uapi::memfd::create_sealed(c"source", 4096).unwrap();
    let error = loader.start_load(LoadSpec::whole_file(tmpfs).unwrap(), None).err().unwrap();
    assert!(matches!(error, ClientError::Transport(_)), "{error}");
}
