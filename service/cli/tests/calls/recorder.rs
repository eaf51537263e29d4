// SPDX-License-Identifier: Apache-2.0
//! The service on a socket, with a list of the calls that the tool makes.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use binder::rpc::{serve_unix, Limits, UnixServer};
use binder::{Interface, Status, StatusCode, Strong};
use dmabuf_engine::{Engine, EngineConfig, PoolConfig};
use dmabuf_loader_client::aidl::{
    Capabilities::Capabilities,
    ClientUsage::ClientUsage,
    DmaBuf::DmaBuf,
    HeapInfo::HeapInfo,
    IDmaBufLoader::{BnDmaBufLoader, IDmaBufLoader},
    ILoadCallback::ILoadCallback,
    ILoadTask::{BnLoadTask, ILoadTask},
    LoadRequest::LoadRequest,
    LoadResult::LoadResult,
    LoaderError::LoaderError,
    NewBuffer::NewBuffer,
    SaveRequest::SaveRequest,
    SaveResult::SaveResult,
    TaskProgress::TaskProgress,
    TaskResult::TaskResult,
};
use dmabuf_loader_hal::config::default_limits;
use dmabuf_loader_hal::service::{new_native_binder, SERVICE_NAME};

/// The calls that a client has made.
type Calls = Arc<Mutex<Vec<String>>>;

/// What the service does when a request is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Starts {
    /// As the service does.
    Really,
    /// Loads never end, until they are cancelled.
    StuckLoads,
    /// Saves never end, until they are cancelled.
    StuckSaves,
    /// It does not know these calls.
    Unknown,
}

/// The service, with a list of its calls.
struct Recorder {
    service: Strong<dyn IDmaBufLoader>,
    starts: Starts,
    calls: Calls,
}

impl Recorder {
    fn record(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

fn load_text(request: &LoadRequest) -> String {
    let LoadRequest { files, segments, policy, paths, priority, timeoutMillis, .. } = request;
    let target = std::mem::discriminant(&request.target);
    format!(
        "{} files: {segments:?} {policy:?} {paths:?} {priority:?} {timeoutMillis} ms into \
         {target:?}",
        files.len(),
    )
}

fn save_text(request: &SaveRequest) -> String {
    let SaveRequest { files, segments, policy, paths, priority, timeoutMillis, .. } = request;
    let files = files.len();
    format!("{files} files: {segments:?} {policy:?} {paths:?} {priority:?} {timeoutMillis} ms")
}

impl Interface for Recorder {}

impl IDmaBufLoader for Recorder {
    fn getHeaps(&self) -> binder::Result<Vec<HeapInfo>> {
        self.record("getHeaps".to_owned());
        self.service.getHeaps()
    }

    fn getUsage(&self) -> binder::Result<ClientUsage> {
        self.record("getUsage".to_owned());
        self.service.getUsage()
    }

    fn getCapabilities(&self) -> binder::Result<Capabilities> {
        self.record("getCapabilities".to_owned());
        self.service.getCapabilities()
    }

    fn allocate(&self, request: &NewBuffer) -> binder::Result<DmaBuf> {
        self.record(format!("allocate {} bytes", request.sizeBytes));
        self.service.allocate(request)
    }

    fn load(&self, request: &LoadRequest) -> binder::Result<LoadResult> {
        self.record(format!("load {}", load_text(request)));
        self.service.load(request)
    }

    fn save(&self, request: &SaveRequest) -> binder::Result<SaveResult> {
        self.record(format!("save {}", save_text(request)));
        self.service.save(request)
    }

    fn startLoad(
        &self,
        request: &LoadRequest,
        callback: Option<&Strong<dyn ILoadCallback>>,
    ) -> binder::Result<Strong<dyn ILoadTask>> {
        self.record(format!("startLoad {}", load_text(request)));
        match self.starts {
            Starts::Unknown => return Err(StatusCode::UnknownTransaction.into()),
            Starts::StuckLoads => return Ok(StuckTask::start(&self.calls)),
            Starts::Really | Starts::StuckSaves => {}
        }
        self.service.startLoad(request, callback)
    }

    fn startSave(
        &self,
        request: &SaveRequest,
        callback: Option<&Strong<dyn ILoadCallback>>,
    ) -> binder::Result<Strong<dyn ILoadTask>> {
        self.record(format!("startSave {}", save_text(request)));
        match self.starts {
            Starts::Unknown => return Err(StatusCode::UnknownTransaction.into()),
            Starts::StuckSaves => return Ok(StuckTask::start(&self.calls)),
            Starts::Really | Starts::StuckLoads => {}
        }
        self.service.startSave(request, callback)
    }
}

/// A task that ends by being cancelled.
struct StuckTask {
    cancelled: AtomicBool,
    calls: Calls,
}

impl StuckTask {
    fn start(calls: &Calls) -> Strong<dyn ILoadTask> {
        let cancelled = AtomicBool::new(false);
        BnLoadTask::new_binder(Self { cancelled, calls: Arc::clone(calls) })
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl Interface for StuckTask {}

impl ILoadTask for StuckTask {
    fn cancel(&self) -> binder::Result<()> {
        self.calls.lock().unwrap().push("cancel".to_owned());
        self.cancelled.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn waitFor(&self, _: i64) -> binder::Result<bool> {
        // As a service with many waiters: it may return early.
        self.calls.lock().unwrap().push("waitFor".to_owned());
        Ok(self.is_cancelled())
    }

    fn getProgress(&self) -> binder::Result<TaskProgress> {
        let ended = self.is_cancelled();
        Ok(TaskProgress { movedBytes: 3 << 20, totalBytes: 100 << 20, ended })
    }

    fn takeResult(&self) -> binder::Result<TaskResult> {
        assert!(self.is_cancelled());
        let message = Some("the request was cancelled".to_owned());
        Err(Status::new_service_specific_error(LoaderError::CANCELLED.0, message))
    }
}

/// The recorded service on a socket.
pub struct Recorded {
    pub directory: tempfile::TempDir,
    calls: Calls,
    _server: UnixServer,
}

impl Recorded {
    pub fn start(starts: Starts) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::new(EngineConfig::new(true, PoolConfig::OFF));
        let calls = Calls::default();
        let service = new_native_binder(Arc::new(engine), default_limits());
        let recorder = Recorder { service, starts, calls: Arc::clone(&calls) };
        let recorder = BnDmaBufLoader::new_binder(recorder);
        let socket = directory.path().join("socket");
        let server =
            serve_unix(&socket, SERVICE_NAME, recorder.as_binder(), Limits::default()).unwrap();
        Self { directory, calls, _server: server }
    }

    pub fn file(&self, size_bytes: u64) -> PathBuf {
        let file = self.directory.path().join("file");
        File::create(&file).unwrap().set_len(size_bytes).unwrap();
        file
    }

    pub fn tool(&self) -> Command {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_dmabufload"));
        tool.arg("--socket").arg(self.directory.path().join("socket"));
        tool
    }

    /// The calls since it was asked before.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}
