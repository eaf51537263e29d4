// SPDX-License-Identifier: Apache-2.0
//! What a Rust vendor process links to use the DMA-BUF loader.
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
//! The types of the contract are re-exported as [`aidl`]; what they mean is documented in the `.aidl` files.

#![deny(missing_docs)]

mod error;
mod loader;
mod source;

pub use error::{ClientError, Result};
pub use loader::{LoadSpec, Loader, SaveSpec};
pub use source::open_for_load;
pub use vendor_dmabuf_loader::aidl::vendor::dmabuf::loader as aidl;
