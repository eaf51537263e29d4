// SPDX-License-Identifier: Apache-2.0
//! Heaps, buffers and the paths that move bytes between files and dma-bufs. It knows no binder.
//!
//! A load goes one way through the modules: [`mod@file`] finds out what the open files allow, [`plan`] decides, without any
//! I/O, which path takes which range, [`path`] moves the bytes, and [`report`] says what happened and why not better.
//!
//! # Vocabulary
//! - **heap**: something that yields buffers: a node of `/dev/dma_heap`, udmabuf, or a bare memfd.
//! - **path**: a way to move bytes, direct (no CPU copy, no page cache) or buffered.
//! - **pool**: buffers that are ready before they are asked for.
//! - **edge**: a head or tail that is shorter than the alignment that direct I/O needs.

#![deny(missing_docs)]

mod allocator;
pub mod buffer;
pub mod cost;
pub mod digest;
pub mod engine;
pub mod error;
pub mod file;
pub mod fs_verity;
pub mod heap;
pub mod path;
pub mod plan;
pub mod pool;
pub mod report;
pub mod request;
mod runs;
mod transfer;
mod verify;
mod watermarks;

pub use buffer::Buffer;
pub use engine::{Engine, EngineConfig, LoadOutcome, SaveOutcome};
pub use error::{EngineError, Result};
