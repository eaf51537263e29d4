// SPDX-License-Identifier: Apache-2.0
//! AOSP libbinder_rs names over rsbinder, for Cargo builds.
//!
//! A device build links AOSP's own `binder` crate instead, so service and client use only names and
//! signatures that both have. Source of the names: `frameworks/native/libs/binder/rust/src` of
//! AOSP.
//!
//! Only [`rpc`] has no counterpart there: it carries the same interfaces over a unix socket.
//!
//! Not covered, because nothing here uses it: asynchronous binders, lazy services, death
//! recipients.
//!
//! # Threading and lifetime
//! Every function may be called from any thread. A call blocks its thread; incoming calls run on
//! the threads of [`ProcessState`], or on those of an [`rpc::UnixServer`] until it is dropped. The
//! process has one connection to the binder driver, opened by the first call that needs it and kept
//! until the process ends; that and the number of threads are the only state of the crate.
//! [`ThreadState`] answers for the thread that asks it.

#![deny(missing_docs)]

pub mod binder_impl;
mod process_state;
pub mod rpc;
mod service_manager;
mod status;
mod thread_state;

pub use process_state::ProcessState;
pub use rsbinder::{
    BinderFeatures, FromIBinder, Interface, ParcelFileDescriptor, SIBinder as SpIBinder, Status,
    StatusCode, Strong, WIBinder as WpIBinder,
};
pub use service_manager::{
    add_service, check_interface, get_declared_instances, is_declared, wait_for_interface,
};
pub use status::{IntoBinderResult, StatusExt};
pub use thread_state::ThreadState;

/// What an interface method returns.
pub type Result<T> = std::result::Result<T, Status>;
