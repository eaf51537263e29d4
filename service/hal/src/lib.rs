// SPDX-License-Identifier: Apache-2.0
//! The DMA-BUF loader service: AIDL on top of the engine.
//!
//! [`service`] is the binder object, whose methods only convert ([`convert`]) and call the engine.
//! Only [`error`] converts an engine error to a binder status. Every call goes through [`calls`],
//! which makes an error of a panic, limits the log by [`log_limiter`] and counts by [`clients`]
//! what each client has done. [`mod@dump`] writes the `dumpsys` text or JSON, in part by
//! [`process_usage`]. [`embedded`] serves the same object on a unix socket.
//!
//! # Threading and lifetime
//! The binder object shares an engine; of its own it has the counters of its calls and of their
//! log. Binder calls it from any of its threads, several at a time; a call blocks its thread until
//! the engine has finished, so the number of binder threads limits the requests in progress. The
//! fds of a request are duplicated, and closed when the call returns. The transport closes its own
//! copies on the thread of the call: there, and nowhere else, a file whose server does not answer
//! can hold it, which a device's policy prevents (sepolicy/README.md). The fd of a new buffer
//! belongs to the client; the pool may
//! hold another fd of the same buffer. The engine, its pool and the pool's thread end with the last
//! reference to the engine; the object holds one.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod calls;
pub mod clients;
pub mod config;
pub mod convert;
pub mod dump;
#[cfg(not(soong))]
pub mod embedded;
pub mod error;
pub mod log_limiter;
pub mod process_usage;
mod requests;
pub mod service;
mod tasks;
mod usage;
