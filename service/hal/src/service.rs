// SPDX-License-Identifier: Apache-2.0
//! The binder object: implements the AIDL interface by conversion and calls to the engine.

use std::sync::Arc;

use binder::{Interface, Strong, ThreadState};
use dmabuf_engine::request::{MAX_FILES, MAX_SEGMENTS};
use dmabuf_engine::{ClientId, Context, Engine};
use dmabuf_scheduler::ledger::Limits;
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
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
    TaskResult::TaskResult,
};

use crate::calls::Calls;
use crate::convert;
use crate::dump::{self, Shown};
use crate::error::{Method, Result};
use crate::requests::{Caller, Requests};
use crate::tasks::Tasks;
use crate::usage::client_usage;

/// The name under which devices declare the service.
pub const SERVICE_NAME: &str = "vendor.dmabuf.loader.IDmaBufLoader/default";

struct LoaderService {
    requests: Requests,
    tasks: Tasks,
    calls: Arc<Calls>,
}

impl LoaderService {
    fn new(engine: Arc<Engine>, limits: Limits) -> Self {
        let calls = Arc::new(Calls::default());
        let requests = Requests::new(engine, limits, Arc::clone(calls.clients()));
        Self { tasks: Tasks::new(requests.clone(), Arc::clone(&calls)), requests, calls }
    }

    fn engine(&self) -> &Engine {
        self.requests.engine()
    }

    fn write_dump<'a>(
        &self,
        arguments: impl Iterator<Item = &'a str>,
        writer: &mut dyn std::io::Write,
    ) -> std::io::Result<()> {
        let caller = calling_client();
        // Whoever reads the text slowly blocks the thread that writes it.
        let _blocking = self.requests.begin_call(caller).map_err(std::io::Error::other)?;
        let shown = Shown::to(caller.0);
        dump::write((&self.requests, &self.tasks, &self.calls), shown, arguments, writer)
    }
}

/// Makes the binder object that serves an engine, to clients within these limits.
pub fn new_native_binder(engine: Arc<Engine>, limits: Limits) -> Strong<dyn IDmaBufLoader> {
    let service = LoaderService::new(engine, limits);
    #[cfg(soong)]
    return BnDmaBufLoader::new_binder(service, binder::BinderFeatures::default());
    #[cfg(not(soong))]
    return BnDmaBufLoader::new_binder(service);
}

/// The client of a call, from the binder thread: requests carry no identity.
fn calling_client() -> ClientId {
    ClientId(ThreadState::get_calling_uid())
}

impl Interface for LoaderService {
    #[cfg(soong)]
    fn dump(
        &self,
        writer: &mut dyn std::io::Write,
        arguments: &[&std::ffi::CStr],
    ) -> std::result::Result<(), binder::StatusCode> {
        let arguments = arguments.iter().filter_map(|argument| argument.to_str().ok());
        self.write_dump(arguments, writer).or(Err(binder::StatusCode::UNKNOWN_ERROR))
    }

    #[cfg(not(soong))]
    fn dump(
        &self,
        writer: &mut dyn std::io::Write,
        arguments: &[String],
    ) -> std::result::Result<(), binder::StatusCode> {
        Ok(self.write_dump(arguments.iter().map(String::as_str), writer)?)
    }
}

impl IDmaBufLoader for LoaderService {
    fn getHeaps(&self) -> binder::Result<Vec<HeapInfo>> {
        self.calls.run(Method::GetHeaps, || {
            Ok(self.engine().heaps().iter().map(convert::heap_info).collect())
        })
    }

    fn getCapabilities(&self) -> binder::Result<Capabilities> {
        self.calls.run(Method::GetCapabilities, || {
            Ok(Capabilities {
                paths: self.engine().paths().iter().map(convert::path_support).collect(),
                maxSegments: MAX_SEGMENTS as i32,
                maxFiles: MAX_FILES as i32,
                pageBytes: Engine::page_bytes(),
            })
        })
    }

    fn allocate(&self, request: &NewBuffer) -> binder::Result<DmaBuf> {
        self.calls.run(Method::Allocate, || {
            let new = convert::new_buffer(Method::Allocate, request)?;
            let context = Context::new(calling_client());
            let _blocking = self.requests.begin_call(context.client)?;
            Ok(convert::dma_buf(self.requests.allocate(&new, &context)?))
        })
    }

    fn load(&self, request: &LoadRequest) -> binder::Result<LoadResult> {
        self.calls.run(Method::Load, || {
            let context = load_context(request)?;
            let _blocking = self.requests.begin_call(context.client)?;
            let load = convert::load_request(request)?;
            Ok(convert::load_result(self.requests.load(load, waiting(&context), |_| {})?))
        })
    }

    fn save(&self, request: &SaveRequest) -> binder::Result<SaveResult> {
        self.calls.run(Method::Save, || {
            let context = save_context(request)?;
            let _blocking = self.requests.begin_call(context.client)?;
            let save = convert::save_request(request)?;
            Ok(convert::save_result(self.requests.save(save, waiting(&context), |_| {})?))
        })
    }

    fn getUsage(&self) -> binder::Result<ClientUsage> {
        self.calls.run(Method::GetUsage, || {
            let client = calling_client();
            let quota = self.requests.quota();
            let record = self.calls.clients().of(client);
            Ok(client_usage(quota.held(client), quota.limits(client), record.as_ref()))
        })
    }

    fn startLoad(
        &self,
        request: &LoadRequest,
        callback: Option<&Strong<dyn ILoadCallback>>,
    ) -> binder::Result<Strong<dyn ILoadTask>> {
        self.calls.run(Method::StartLoad, || {
            let context = load_context(request)?;
            let load = convert::load_request(request)?;
            let work = move |requests: &Requests, context: &Context, sized: &dyn Fn(u64)| {
                let outcome = requests.load(load, Caller { context, pid: None }, sized)?;
                Ok(TaskResult::Load(convert::load_result(outcome)))
            };
            self.tasks.start(Method::StartLoad, context, callback.cloned(), Box::new(work))
        })
    }

    fn startSave(
        &self,
        request: &SaveRequest,
        callback: Option<&Strong<dyn ILoadCallback>>,
    ) -> binder::Result<Strong<dyn ILoadTask>> {
        self.calls.run(Method::StartSave, || {
            let context = save_context(request)?;
            let save = convert::save_request(request)?;
            let work = move |requests: &Requests, context: &Context, sized: &dyn Fn(u64)| {
                let outcome = requests.save(save, Caller { context, pid: None }, sized)?;
                Ok(TaskResult::Save(convert::save_result(outcome)))
            };
            self.tasks.start(Method::StartSave, context, callback.cloned(), Box::new(work))
        })
    }
}

/// The caller that waits for a call to return.
fn waiting(context: &Context) -> Caller<'_> {
    let pid = ThreadState::get_calling_pid();
    Caller { context, pid: Some(pid).filter(|pid| *pid > 0) }
}

fn load_context(request: &LoadRequest) -> Result<Context> {
    convert::context(calling_client(), request.priority, request.timeoutMillis)
}

fn save_context(request: &SaveRequest) -> Result<Context> {
    convert::context(calling_client(), request.priority, request.timeoutMillis)
}

#[cfg(test)]
mod tests {
    use dmabuf_engine::{EngineConfig, PoolConfig};

    use crate::config::default_limits;

    use super::*;

    fn dumped(pool: PoolConfig) -> String {
        let engine = Engine::new(EngineConfig::new(true, pool));
        let service = LoaderService::new(Arc::new(engine), default_limits());
        let mut text = Vec::new();
        service.dump(&mut text, &[]).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn dump_shows_the_pool_and_the_calls() {
        let without_pool = dumped(PoolConfig::OFF);
        assert!(without_pool.starts_with("pool: off\n"), "{without_pool}");
        assert!(without_pool.contains("\ncalls that panicked: 0\n"), "{without_pool}");
        let process = format!("\nprocess: {}\n  fds: ", std::process::id());
        assert!(without_pool.contains(&process), "{without_pool}");
        let with_pool = dumped(PoolConfig::of_bytes(1 << 20));
        assert!(with_pool.starts_with("pool: on\n  free buffers: 0, 0 bytes\n"), "{with_pool}");
    }
}
