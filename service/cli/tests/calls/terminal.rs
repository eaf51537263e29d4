// SPDX-License-Identifier: Apache-2.0
//! Tests of the calls that the tool makes: with its options, and on a terminal as elsewhere.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use binder::rpc::{serve_unix, Limits, UnixServer};
use binder::{Interface, Strong};
use dmabuf_engine::{Engine, EngineConfig, PoolConfig};
use dmabuf_loader_client::aidl::{
    Capabilities::Capabilities,
    DmaBuf::DmaBuf,
    HeapInfo::HeapInfo,
    IDmaBufLoader::{BnDmaBufLoader, IDmaBufLoader},
    ILoadCallback::ILoadCallback,
    ILoadTask::ILoadTask,
    LoadPath::LoadPath,
    LoadRequest::LoadRequest,
    LoadResult::LoadResult,
    NewBuffer::NewBuffer,
    PathPolicy::PathPolicy,
    RequestPriority::RequestPriority,
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

fn load_text(request: &LoadRequest) -> String {
    let LoadRequest { files, segments, policy, namedPath, priority, timeoutMillis, .. } = request;
    let target = std::mem::discriminant(&request.target);
    format!(
        "{} files: {segments:?} {policy:?} {namedPath:?} {priority:?} {timeoutMillis} ms into \
         {target:?}",
        files.len(),
    )
}

fn save_text(request: &SaveRequest) -> String {
    let SaveRequest { files, segments, policy, namedPath, priority, timeoutMillis, .. } = request;
    let files = files.len();
    format!("{files} files: {segments:?} {policy:?} {namedPath:?} {priority:?} {timeoutMillis} ms")
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
        self.service.startLoad(request, callback)
    }

    fn startSave(
        &self,
        request: &SaveRequest,
        callback: Option<&Strong<dyn ILoadCallback>>,
    ) -> binder::Result<Strong<dyn ILoadTask>> {
        self.record(format!("startSave {}", save_text(request)));
        self.service.startSave(request, callback)
    }
}

const FILE_BYTES: u64 = 100 << 20;

/// The recorded service on a socket.
struct Recorded {
    directory: tempfile::TempDir,
    calls: Calls,
    _server: UnixServer,
}

impl Recorded {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::new(EngineConfig::new(true, PoolConfig::OFF));
        let calls = Calls::default();
        let service = new_native_binder(Arc::new(engine), default_limits());
        let recorder = BnDmaBufLoader::new_binder(Recorder { service, calls: Arc::clone(&calls) });
        let socket = directory.path().join("socket");
        let server =
            serve_unix(&socket, SERVICE_NAME, recorder.as_binder(), Limits::default()).unwrap();
        Self { directory, calls, _server: server }
    }

    fn file(&self, size_bytes: u64) -> PathBuf {
        let file = self.directory.path().join("file");
        File::create(&file).unwrap().set_len(size_bytes).unwrap();
        file
    }

    fn tool(&self) -> Command {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_dmabufload"));
        tool.arg("--socket").arg(self.directory.path().join("socket"));
        tool
    }

    /// The calls since it was asked before.
    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

#[test]
fn the_options_of_a_request_are_passed_on() {
    let recorded = Recorded::start();
    let (file, target) = (recorded.file(10_000), recorded.directory.path().join("target"));
    let mut tool = recorded.tool();
    tool.arg("save").arg(file).arg(target).args(["--policy", "buffered", "--heap", "memfd"]);
    let options = ["--priority", "latency-critical", "--timeout-ms", "60000"];
    let output = tool.args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let calls = recorded.calls();
    let passed = format!(
        "{:?} {:?} {:?} 60000 ms",
        PathPolicy::NAMED,
        LoadPath::BUFFERED,
        RequestPriority::LATENCY_CRITICAL
    );
    assert_eq!(calls.iter().filter(|call| call.contains(&passed)).count(), 2, "{calls:?}");
}

#[test]
fn a_terminal_changes_no_call() {
    let recorded = Recorded::start();
    let file = recorded.file(FILE_BYTES);
    let calls_of = |stderr: Stdio| {
        let mut tool = recorded.tool();
        tool.args(["load", "--heap", "memfd"]).arg(&file);
        let output = tool.stderr(stderr).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("{FILE_BYTES} bytes\n")), "{text}");
        recorded.calls()
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
