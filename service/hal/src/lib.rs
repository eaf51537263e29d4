// SPDX-License-Identifier: Apache-2.0
//! The DMA-BUF loader service: AIDL on top of the engine.
//!
//! [`service`] is the binder object, whose methods only convert ([`convert`]) and call the engine; [`error`] is the one
//! place where an engine error becomes a binder status. [`mod@dump`] is what `dumpsys` shows. [`embedded`] serves the same
//! object on a unix socket.

#![deny(missing_docs)]

pub mod convert;
pub mod dump;
#[cfg(not(soong))]
pub mod embedded;
pub mod error;
pub mod service;
