// SPDX-License-Identifier: Apache-2.0
//! AOSP libbinder_rs names over rsbinder, for Cargo builds.
//!
//! A device build links AOSP's own `binder` crate in its place, so service and client sources use only names and
//! signatures that both have. Source of the names: `frameworks/native/libs/binder/rust/src` of AOSP.
//!
//! [`rpc`] alone has no counterpart there: it carries the same interfaces over a unix socket.
//!
//! Not covered, because nothing here uses it: asynchronous binders, lazy services, death recipients.

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
