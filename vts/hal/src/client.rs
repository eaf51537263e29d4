// SPDX-License-Identifier: Apache-2.0
//! The client under which the tests call the service, and checks of refused calls.

use anyhow::{bail, Context, Result};
use dmabuf_loader_client::aidl::{
    HeapInfo::HeapInfo, LoadPath::LoadPath, LoadResult::LoadResult, LoaderError::LoaderError,
    NewBuffer::NewBuffer,
};
use dmabuf_loader_client::{ClientError, LoadSpec, Loader};
use dmabuf_uapi::file_attributes::file_attributes;
use vts_support::files::Files;
use vts_support::outcome::skip;

/// A test for one instance.
pub type Test = fn(&Client) -> Result<()>;
/// A test and its name, which states the behaviour that it proves.
pub type NamedTest = (&'static str, Test);

/// A connection to the instance under test.
pub struct Client {
    /// The connection.
    pub loader: Loader,
    /// The name of the instance.
    pub instance: String,
}

impl Client {
    /// Connects to an instance.
    pub fn connect(instance: &str) -> Result<Self> {
        let loader = Loader::wait_for(instance).context("connecting")?;
        Ok(Self { loader, instance: instance.to_owned() })
    }

    /// Lists the heaps.
    pub fn heaps(&self) -> Result<Vec<HeapInfo>> {
        self.loader.heaps().context("getHeaps")
    }

    /// The first heap whose buffers devices can share.
    pub fn best_heap(&self) -> Result<HeapInfo> {
        let heaps = self.heaps()?;
        heaps.into_iter().find(|heap| heap.deviceShareable).context("no heap of dma-bufs")
    }

    /// Skips the test unless the kernel copies from files to buffers of this heap.
    pub fn require_copy_file_range(&self, heap: &str) -> Result<()> {
        let paths = self.loader.capabilities().context("getCapabilities")?.paths;
        let support = paths
            .into_iter()
            .find(|entry| entry.heap == heap && entry.path == LoadPath::COPY_FILE_RANGE)
            .with_context(|| {
                format!("getCapabilities has no entry for COPY_FILE_RANGE on {heap}")
            })?;
        if support.supported {
            Ok(())
        } else {
            Err(skip(format!("heap {heap}: {}", support.detail)))
        }
    }

    /// Loads; a failure carries the service's message.
    pub fn load(&self, spec: LoadSpec) -> Result<LoadResult> {
        self.loader.load(spec).context("load")
    }
}

/// Skips the test unless the file system of the test files does direct I/O on them.
pub fn require_direct_io(files: &Files) -> Result<()> {
    let probe = files.patterned("direct-io-probe", 1, 1 << 20)?.buffered()?;
    let align = file_attributes(&probe)?.direct_io_align;
    if align.is_some_and(|align| align.memory_bytes > 0 && align.offset_bytes > 0) {
        Ok(())
    } else {
        Err(skip("the file system of the test files does no direct I/O on them"))
    }
}

/// A request for a new buffer of the size that the segments need.
pub fn new_buffer(heap: &str) -> NewBuffer {
    sized_buffer(heap, 0)
}

/// A request for a new buffer of a given size.
pub fn sized_buffer(heap: &str, size_bytes: i64) -> NewBuffer {
    NewBuffer { heap: heap.to_owned(), sizeBytes: size_bytes, name: "vts".to_owned() }
}

/// Fails unless the service refused with this code and a message that starts with the argument's
/// name.
pub fn expect_refusal<T>(
    result: std::result::Result<T, ClientError>,
    code: LoaderError,
    argument: &str,
) -> Result<()> {
    match result {
        Ok(_) => bail!("accepted; expected LoaderError {} for {argument:?}", code.0),
        Err(error) if error.code() != Some(code) => {
            bail!("expected LoaderError {}, got {:?}: {error}", code.0, error.code())
        }
        Err(error) if !error.to_string().starts_with(argument) => {
            bail!("expected a message about {argument:?}, got {error}")
        }
        Err(_) => Ok(()),
    }
}

/// As [`expect_refusal`], for an fd that SELinux or the binder driver may refuse to pass to the
/// service. `denied` is part of the SELinux denial to expect; the driver's own refusal leaves none.
pub fn expect_refusal_or_block<T>(
    result: std::result::Result<T, ClientError>,
    code: LoaderError,
    argument: &str,
    denied: Option<&str>,
) -> Result<()> {
    match result {
        Err(ClientError::Transport(_)) => {
            if let Some(denied) = denied {
                println!("EXPECT-AVC: {denied}");
            }
            Ok(())
        }
        other => expect_refusal(other, code, argument),
    }
}
