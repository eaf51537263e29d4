// SPDX-License-Identifier: Apache-2.0
//! Heaps, buffers and the paths that move bytes between files and dma-bufs. It knows no binder.
//!
//! A request goes one way through the modules: [`mod@request`] says what is asked, `file` finds out
//! what the open files allow, `plan` decides, without any I/O, which memory a new buffer is made of
//! and which path takes which extent, `allocator` allocates, `transfer` executes the plan by
//! `path`, and the report says what happened and why not by a cheaper path.
//!
//! # Vocabulary
//! - **heap**: something that yields buffers: a node of `/dev/dma_heap`, udmabuf, or a bare memfd.
//! - **[`IoPath`]**: a way to move bytes, direct (no CPU copy, no page cache) or not.
//! - **extent**: segments that follow each other in file and buffer, moved as one range.
//! - **head, tail**: what lies before the first and after the last byte that direct I/O can move.
//! - **pool**: buffers that are free before they are asked for.
//!
//! # Threading and lifetime
//! An [`Engine`] is shared between threads. Requests own their fds and strings and are `Send`: one
//! thread may prepare a request and another run it. A [`Context`] goes with each: a clone of its
//! token cancels the request from any thread, within one call to the kernel. All helper threads
//! come from one bounded place of the engine and end with the request that started them; the pool
//! has one thread, which ends with the engine. Files that a request was refused for, and whose
//! `close(2)` may wait for a server, are closed by up to two threads of their own, which end with
//! that. Nothing is global: two engines in one process share
//! nothing.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admission;
mod allocator;
mod buffer;
mod capabilities;
#[cfg(test)]
mod client_file_tests;
mod context;
mod engine;
mod error;
mod file;
mod heap;
mod io_path;
mod meminfo;
mod operation;
#[cfg(test)]
mod panic_tests;
mod path;
mod plan;
mod pool;
mod prepare;
#[cfg(test)]
mod random_tests;
pub mod request;
mod threads;
mod transfer;

pub use buffer::Buffer;
pub use capabilities::HeapPath;
pub use context::{
    BatchOrder, CancelToken, ClientId, Context, Grant, Priority, Progress, ProgressSink,
};
pub use dmabuf_uapi::Errno;
pub use engine::{Engine, EngineConfig, LoadOutcome, SaveOutcome};
pub use error::{errno_text, verity_text, Argument, EngineError, Result};
pub use file::fs_verity::{Algorithm, Digest};
pub use file::{FileSystems, UnclosedFiles};
pub use heap::{Heap, HeapConfig, HeapFacts, HeapKind, HugeUdmabufs};
pub use io_path::{Detail, Direction, IoPath, NotTaken, PathName, Reason, Refusal, Support};
pub use operation::{Fault, Operation};
pub use pool::{PoolConfig, PoolStats, PressureWatch};
pub use prepare::{PreparedLoad, PreparedSave};
pub use transfer::Report;
