// SPDX-License-Identifier: Apache-2.0
//! The binder object.

use std::sync::Arc;

use binder::{Interface, Strong, ThreadState};
use dmabuf_engine::request::{ClientId, MAX_FILES, MAX_SEGMENTS};
use dmabuf_engine::Engine;
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    Capabilities::Capabilities,
    DmaBuf::DmaBuf,
    HeapInfo::HeapInfo,
    IDmaBufLoader::{BnDmaBufLoader, IDmaBufLoader},
    LoadRequest::LoadRequest,
    LoadResult::LoadResult,
    NewBuffer::NewBuffer,
    SaveRequest::SaveRequest,
    SaveResult::SaveResult,
};

use crate::convert;
use crate::error::to_binder;

/// The name under which a device declares the service.
pub const SERVICE_NAME: &str = "vendor.dmabuf.loader.IDmaBufLoader/default";

struct LoaderService {
    engine: Arc<Engine>,
}

/// Makes the binder object of an engine.
pub fn new_native_binder(engine: Arc<Engine>) -> Strong<dyn IDmaBufLoader> {
    let service = LoaderService { engine };
    #[cfg(soong)]
    return BnDmaBufLoader::new_binder(service, binder::BinderFeatures::default());
    #[cfg(not(soong))]
    return BnDmaBufLoader::new_binder(service);
}

/// Who is calling, from the binder thread: nothing in a request says it.
fn calling_client() -> ClientId {
    ClientId(ThreadState::get_calling_uid())
}

impl Interface for LoaderService {}

impl IDmaBufLoader for LoaderService {
    fn getHeaps(&self) -> binder::Result<Vec<HeapInfo>> {
        Ok(self.engine.heaps().iter().map(convert::heap_info).collect())
    }

    fn getCapabilities(&self) -> binder::Result<Capabilities> {
        Ok(Capabilities {
            paths: self.engine.paths().iter().map(convert::path_support).collect(),
            maxSegments: MAX_SEGMENTS as i32,
            maxFiles: MAX_FILES as i32,
            pageBytes: Engine::page_bytes(),
        })
    }

    fn allocate(&self, request: &NewBuffer) -> binder::Result<DmaBuf> {
        let allocated = convert::new_buffer("", request)
            .and_then(|new| self.engine.allocate(&new, calling_client()));
        to_binder("allocate", allocated.map(convert::dma_buf))
    }

    fn load(&self, request: &LoadRequest) -> binder::Result<LoadResult> {
        let loaded = convert::load_request(request, calling_client())
            .and_then(|load| self.engine.load(&load));
        to_binder("load", loaded.map(convert::load_result))
    }

    fn save(&self, request: &SaveRequest) -> binder::Result<SaveResult> {
        let saved = convert::save_request(request).and_then(|save| self.engine.save(&save));
        to_binder("save", saved.map(convert::save_result))
    }
}
