// SPDX-License-Identifier: Apache-2.0
//! The AIDL contract of the DMA-BUF loader, as Rust.
//!
//! Soong generates this crate from `aidl_interface`; a Cargo build generates it in `build.rs`.
//! Import paths are the same:
//! `vendor_dmabuf_loader::aidl::vendor::dmabuf::loader::IDmaBufLoader::IDmaBufLoader`. What each
//! type and method means is documented in the `.aidl` files.
//!
//! # Threading and lifetime
//! Requests and results are plain data that own their fds: dropping one closes them. A proxy of an
//! interface is shared between threads and holds its binder object alive.

/// The generated code.
#[allow(missing_docs, clippy::all)]
pub mod aidl {
    include!(concat!(env!("OUT_DIR"), "/vendor_dmabuf_loader.rs"));
}
