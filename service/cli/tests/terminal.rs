// SPDX-License-Identifier: Apache-2.0
//! Tests that the tool asks the service for the same on a terminal as elsewhere.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use binder::rpc::{serve_unix, Limits};
use binder::{Interface, Strong};
use dmabuf_engine::{Engine, EngineConfig, PoolConfig};
use dmabuf_loader_client::aidl::{
    Capabilities::Capabilities,
    ClientUsage::ClientUsage,
    DmaBuf::DmaBuf,
    HeapInfo::HeapInfo,
    IDmaBufLoader::{BnDmaBufLoader, IDmaBufLoader},
    ILoadCallback::ILoadCallback,
    ILoadTask::ILoadTask,
    LoadRequest::LoadRequest,
    LoadResult::LoadResult,
    NewBuffer::NewBuffer,
    SaveRequest::SaveRequest,
    SaveResult::SaveResult,
};
use dmabuf_loader_hal::config::default_limits;
use dmabuf_loader_hal::service::{new_native_binder, SERVICE_NAME};
use nix::pty::openpty;

/// The calls that a client has made.
type Calls = Arc<Mutex<Vec<String>>>;

/// The service, with a list of its calls.
struct Recorder {
    service: Strong<dyn IDmaBufLoader>,
    calls: Calls,
}

impl Recorder {
    fn record(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

impl Interface for Recorder {}

impl IDmaBufLoader for Recorder {
    fn getHeaps(&self) -> binder::Result<Vec<HeapInfo>> {
        self.record("getHeaps".to_owned());
        self.service.getHeaps()
    }

    fn getCapabilities(&self) -> binder::Result<Capabilities> {
        self.record("getCapabilities".to_owned());
        self.service.getCapabilities()
    }

    fn allocate(&self, request: &NewBuffer) -> binder::Result<DmaBuf> {
        self.record(format!("allocate {} bytes", request.sizeBytes));
        self.service.allocate(request)
    }

    fn getUsage(&self) -> binder::Result<ClientUsage> {
        self.service.getUsage()
    }

    fn load(&self, request: &LoadRequest) -> binder::Result<LoadResult> {
        let LoadRequest { target, files, segments, policy, paths, .. } = request;
        self.record(format!(
            "load {} files: {segments:?} {policy:?} {paths:?} into {:?}",
            files.len(),
            std::mem::discriminant(target)
        ));
        self.service.load(request)
    }

    fn save(&self, request: &SaveRequest) -> binder::Result<SaveResult> {
        self.record(format!("save {:?}", request.segments));
        self.service.save(request)
    }

    fn startLoad(
        &self,
        request: &LoadRequest,
        callback: Option<&Strong<dyn ILoadCallback>>,
    ) -> binder::Result<Strong<dyn ILoadTask>> {
        self.record(format!("startLoad {:?}", request.segments));
        self.service.startLoad(request, callback)
    }

    fn startSave(
        &self,
        request: &SaveRequest,
        callback: Option<&Strong<dyn ILoadCallback>>,
    ) -> binder::Result<Strong<dyn ILoadTask>> {
        self.record(format!("startSave {:?}", request.segments));
        self.service.startSave(request, callback)
    }
}

const FILE_BYTES: u64 = 100 << 20;

#[test]
fn a_terminal_changes_no_call() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, file) = (directory.path().join("socket"), directory.path().join("file"));
    File::create(&file).unwrap().set_len(FILE_BYTES).unwrap();
    let engine = Engine::new(EngineConfig::new(true, PoolConfig::OFF));
    let calls = Calls::default();
    let service = new_native_binder(Arc::new(engine), default_limits());
    let recorder = BnDmaBufLoader::new_binder(Recorder { service, calls: Arc::clone(&calls) });
    let _server =
        serve_unix(&socket, SERVICE_NAME, recorder.as_binder(), Limits::default()).unwrap();
    let calls_of = |stderr: Stdio| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_dmabufload"));
        tool.arg("--socket").arg(&socket).args(["load", "--heap", "memfd"]).arg(&file);
        let output = tool.stderr(stderr).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("{FILE_BYTES} bytes\n")), "{text}");
        std::mem::take(&mut *calls.lock().unwrap())
    };
    let elsewhere = calls_of(Stdio::piped());
    assert_eq!(elsewhere.iter().filter(|call| call.starts_with("load ")).count(), 1);
    let terminal = openpty(None, None).unwrap();
    let on_terminal = calls_of(terminal.slave.into());
    assert_eq!(on_terminal, elsewhere);
    let mut shown = [0; 4096];
    let len = File::from(terminal.master).read(&mut shown).unwrap();
    let shown = String::from_utf8_lossy(&shown[..len]);
    assert!(shown.contains("loading 100.0 MiB, "), "{shown:?}");
}
