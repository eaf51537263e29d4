// SPDX-License-Identifier: Apache-2.0
//! The connection to the service, and builders for its requests.

use std::borrow::Borrow;
use std::os::fd::AsFd;
use std::time::Duration;

use binder::{ParcelFileDescriptor, Strong};
use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::{
    BufferTarget::BufferTarget, Capabilities::Capabilities, ClientUsage::ClientUsage,
    DigestRequest::DigestRequest, DmaBuf::DmaBuf, HeapInfo::HeapInfo, IDmaBufLoader::IDmaBufLoader,
    ILoadCallback::ILoadCallback, LoadPath::LoadPath, LoadRequest::LoadRequest,
    LoadResult::LoadResult, NewBuffer::NewBuffer, RequestPriority::RequestPriority,
    SaveRequest::SaveRequest, SaveResult::SaveResult, Segment::Segment, TaskResult::TaskResult,
    VerityDigest::VerityDigest,
};

use crate::error::{ClientError, Result};
use crate::older_service::or_blocking;
use crate::task::Task;

/// The instance that devices declare.
const DEFAULT_INSTANCE: &str = "default";
const INTERFACE: &str = "vendor.dmabuf.loader.IDmaBufLoader";

/// A connection to the service.
#[derive(Clone)]
pub struct Loader {
    service: Strong<dyn IDmaBufLoader>,
}

impl Loader {
    /// Connects to the default instance; blocks until it is registered.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] without a binder driver, or if SELinux hides the service.
    pub fn connect() -> Result<Self> {
        Self::wait_for(DEFAULT_INSTANCE)
    }

    /// Connects to an instance; blocks until it is registered.
    ///
    /// # Errors
    /// As for [`Loader::connect`].
    pub fn wait_for(instance: &str) -> Result<Self> {
        let name = format!("{INTERFACE}/{instance}");
        Self::reached(binder::wait_for_interface(&name), name)
    }

    /// Connects to an instance if it is registered now.
    ///
    /// # Errors
    /// As for [`Loader::connect`], and [`ClientError::Unreachable`] if the instance is not
    /// registered.
    pub fn check(instance: &str) -> Result<Self> {
        let name = format!("{INTERFACE}/{instance}");
        Self::reached(binder::check_interface(&name), name)
    }

    /// Connects to a service on a unix socket.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] with the status of the connection attempt.
    #[cfg(not(soong))]
    pub fn connect_unix(socket: &std::path::Path) -> Result<Self> {
        let name = format!("{INTERFACE}/{DEFAULT_INSTANCE}");
        Self::reached(binder::rpc::connect_unix(socket, &name), socket.display().to_string())
    }

    fn reached(
        service: std::result::Result<Strong<dyn IDmaBufLoader>, binder::StatusCode>,
        endpoint: String,
    ) -> Result<Self> {
        service
            .map(|service| Self { service })
            .map_err(|status| ClientError::Unreachable { endpoint, status })
    }

    /// The binder interface, for calls that this type does not wrap.
    pub fn service(&self) -> &Strong<dyn IDmaBufLoader> {
        &self.service
    }

    /// Lists the heaps, best first.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub fn heaps(&self) -> Result<Vec<HeapInfo>> {
        Ok(self.service.getHeaps()?)
    }

    /// Queries what the service and the kernel support.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub fn capabilities(&self) -> Result<Capabilities> {
        Ok(self.service.getCapabilities()?)
    }

    /// Queries what this uid holds, may hold and has done.
    ///
    /// # Errors
    /// [`ClientError::Transport`].
    pub fn usage(&self) -> Result<ClientUsage> {
        Ok(self.service.getUsage()?)
    }

    /// Allocates a zeroed buffer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the codes that `IDmaBufLoader.allocate` documents.
    pub fn allocate(&self, request: &NewBuffer) -> Result<DmaBuf> {
        Ok(self.service.allocate(request)?)
    }

    /// Loads ranges of files into a buffer. A request that is passed by reference can be sent
    /// again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the codes that `IDmaBufLoader.load` documents.
    pub fn load(&self, spec: impl Borrow<LoadSpec>) -> Result<LoadResult> {
        Ok(self.service.load(&spec.borrow().request)?)
    }

    /// Writes ranges of a buffer to files. A request that is passed by reference can be sent again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the codes that `IDmaBufLoader.save` documents.
    pub fn save(&self, spec: impl Borrow<SaveSpec>) -> Result<SaveResult> {
        Ok(self.service.save(&spec.borrow().request)?)
    }

    /// Starts a load; the callback is told of its progress and its end. With a service that is
    /// older than tasks this call blocks until the load has ended, and nothing cancels it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the codes that `IDmaBufLoader.startLoad` documents.
    pub fn start_load(
        &self,
        spec: impl Borrow<LoadSpec>,
        callback: Option<&Strong<dyn ILoadCallback>>,
    ) -> Result<Task<LoadResult>> {
        let (service, request) = (&self.service, &spec.borrow().request);
        let started = service.startLoad(request, callback);
        let blocking = || service.load(request).map(TaskResult::Load);
        Ok(Task::new(or_blocking(started, callback, blocking)?))
    }

    /// Starts a save; the callback is told of its progress and its end.
    ///
    /// # Errors
    /// As for [`Loader::start_load`].
    pub fn start_save(
        &self,
        spec: impl Borrow<SaveSpec>,
        callback: Option<&Strong<dyn ILoadCallback>>,
    ) -> Result<Task<SaveResult>> {
        let (service, request) = (&self.service, &spec.borrow().request);
        let started = service.startSave(request, callback);
        let blocking = || service.save(request).map(TaskResult::Save);
        Ok(Task::new(or_blocking(started, callback, blocking)?))
    }
}

/// Builds a load request; every field may also be set directly.
#[derive(Debug, Default)]
pub struct LoadSpec {
    /// The request as it will be sent.
    pub request: LoadRequest,
}

impl LoadSpec {
    /// Loads one whole file into a new buffer of its size, from a heap that the service chooses.
    ///
    /// # Errors
    /// [`ClientError::File`] if the fd cannot be duplicated.
    pub fn whole_file(file: impl AsFd) -> Result<Self> {
        Self::default().file(file)
    }

    /// Adds a file; segments refer to it by its index, from 0.
    ///
    /// # Errors
    /// [`ClientError::File`] if the fd cannot be duplicated.
    pub fn file(mut self, file: impl AsFd) -> Result<Self> {
        self.request.files.push(duplicate(file)?);
        Ok(self)
    }

    /// Adds a segment. Without segments the request loads its one file whole.
    pub fn segment(mut self, segment: Segment) -> Self {
        self.request.segments.push(segment);
        self
    }

    /// Permits these paths alone, each at most once, which are tried in this order.
    pub fn paths(mut self, paths: impl IntoIterator<Item = LoadPath>) -> Self {
        self.request.paths = paths.into_iter().collect();
        self
    }

    /// Sets how urgent the request is.
    pub fn priority(mut self, priority: RequestPriority) -> Self {
        self.request.priority = priority;
        self
    }

    /// Lets the request fail when so much time has passed since its arrival.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeoutMillis = millis(timeout);
        self
    }

    /// Requires that the loaded bytes have this SHA-256.
    pub fn expect_sha256(mut self, sha256: [u8; 32]) -> Self {
        self.digests().expectedSha256 = Some(sha256.to_vec());
        self
    }

    /// Requests the SHA-256 of the loaded bytes.
    pub fn report_sha256(mut self) -> Self {
        self.digests().reportSha256 = true;
        self
    }

    /// Requires that a file has this fs-verity digest; the digest refers to the file by its index.
    pub fn expect_verity(mut self, digest: VerityDigest) -> Self {
        self.digests().expectedVerity.push(digest);
        self
    }

    /// Requests the fs-verity digest of every file that has one.
    pub fn report_verity(mut self) -> Self {
        self.digests().reportVerity = true;
        self
    }

    fn digests(&mut self) -> &mut DigestRequest {
        self.request.digests.get_or_insert_with(DigestRequest::default)
    }

    /// Loads into a new buffer.
    pub fn into_new(mut self, new: NewBuffer) -> Self {
        self.request.target = BufferTarget::NewBuffer(new);
        self
    }

    /// Loads into an existing buffer.
    ///
    /// # Errors
    /// [`ClientError::File`] if the fd cannot be duplicated.
    pub fn into_existing(mut self, buffer: impl AsFd) -> Result<Self> {
        self.request.target = BufferTarget::Existing(Some(duplicate(buffer)?));
        Ok(self)
    }
}

/// Builds a save request; every field may also be set directly.
#[derive(Debug, Default)]
pub struct SaveSpec {
    /// The request as it will be sent.
    pub request: SaveRequest,
}

impl SaveSpec {
    /// Saves a buffer: all of it to the start of a file, unless segments are added.
    ///
    /// # Errors
    /// [`ClientError::File`] if the fd cannot be duplicated.
    pub fn from_buffer(buffer: impl AsFd) -> Result<Self> {
        let mut spec = Self::default();
        spec.request.buffer = Some(duplicate(buffer)?);
        Ok(spec)
    }

    /// Adds a file; segments refer to it by its index, from 0.
    ///
    /// # Errors
    /// [`ClientError::File`] if the fd cannot be duplicated.
    pub fn file(mut self, file: impl AsFd) -> Result<Self> {
        self.request.files.push(duplicate(file)?);
        Ok(self)
    }

    /// Permits these paths alone, each at most once, which are tried in this order.
    pub fn paths(mut self, paths: impl IntoIterator<Item = LoadPath>) -> Self {
        self.request.paths = paths.into_iter().collect();
        self
    }

    /// Sets how urgent the request is.
    pub fn priority(mut self, priority: RequestPriority) -> Self {
        self.request.priority = priority;
        self
    }

    /// Lets the request fail when so much time has passed since its arrival.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeoutMillis = millis(timeout);
        self
    }

    /// Adds a segment.
    pub fn segment(mut self, segment: Segment) -> Self {
        self.request.segments.push(segment);
        self
    }
}

/// A timeout as requests have it: 0 would be none.
fn millis(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX).max(1)
}

fn duplicate(fd: impl AsFd) -> Result<ParcelFileDescriptor> {
    let owned = fd.as_fd().try_clone_to_owned();
    owned
        .map(ParcelFileDescriptor::new)
        .map_err(|source| ClientError::File { what: "duplicating an fd".to_owned(), source })
}
