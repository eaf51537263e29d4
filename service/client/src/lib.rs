// SPDX-License-Identifier: Apache-2.0
//! Client library of the DMA-BUF loader, for Rust vendor processes.
//!
//! ```no_run
//! use dmabuf_loader_client::{open_for_load, LoadSpec, Loader};
//!
//! # fn main() -> Result<(), dmabuf_loader_client::ClientError> {
//! let loader = Loader::connect()?;
//! let weights = open_for_load("/vendor/etc/camera/model.bin".as_ref())?;
//! let loaded = loader.load(LoadSpec::whole_file(&weights)?)?;
//! let buffer = loaded.buffer.expect("the request asks for a new buffer");
//! println!("{} bytes in heap {}", loaded.segmentBytes[0], buffer.heap);
//! # Ok(())
//! # }
//! ```
//!
//! The AIDL types are re-exported as [`aidl`]; the `.aidl` files document their meaning.
//!
//! # Threading and lifetime
//! A [`Loader`] is a counted reference to the service: clones share it, and every thread may call
//! it. A call blocks its thread until the service answers. Calls over binder run in parallel as far
//! as the service has threads. Requests own duplicates of the fds that they name, so the caller may
//! close its own. A returned buffer stays valid after the [`Loader`] is dropped and after the
//! service ends. The crate has no statics and no threads of its own.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;
mod loader;
mod older_service;
mod source;
mod task;

pub use error::{ClientError, Result};
pub use loader::{LoadSpec, Loader, SaveSpec};
pub use source::open_for_load;
pub use task::{Outcome, Task};
pub use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader as aidl;
