// SPDX-License-Identifier: Apache-2.0
//! The DMA-BUF loader service: AIDL on top of the engine.
//!
//! [`service`] is the binder object, whose methods only convert ([`convert`]) and call the engine.
//! Only [`error`] converts an engine error to a binder status. [`mod@dump`] writes the `dumpsys`
//! text. [`embedded`] serves the same object on a unix socket.
//!
//! # Threading and lifetime
//! The binder object shares an engine and keeps no state of its own. Binder calls it from any of
//! its threads, several at a time; a call blocks its thread until the engine has finished, so the
//! number of binder threads limits the requests in progress. The fds of a request are duplicated,
//! and closed when the call returns. The fd of a new buffer belongs to the client; the pool may
//! hold another fd of the same buffer. The engine, its pool and the pool's thread end with the last
//! reference to the engine; the object holds one.

#![deny(missing_docs)]

pub mod config;
pub mod convert;
pub mod dump;
#[cfg(not(soong))]
pub mod embedded;
pub mod error;
mod requests;
pub mod service;
mod tasks;
