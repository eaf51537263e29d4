// SPDX-License-Identifier: Apache-2.0
//! Typed Linux calls that the product makes: dma-bufs, heaps, udmabuf, memfd, mappings,
//! copy_file_range.
//!
//! One module per kernel interface, each a thin and safe wrapper: it knows the call, not when to
//! make it. Of what runs in a product this is the only crate that contains `unsafe`; the calls that
//! only tests make are in `vts/uapi`.
//!
//! Every function returns [`rustix::io::Result`]; the errno values it can carry are named where the
//! caller is expected to act on them. File descriptors are taken as [`std::os::fd::AsFd`] and never
//! closed; new ones are returned as [`std::os::fd::OwnedFd`] with `O_CLOEXEC` set.
//!
//! What it does not do: fall back, or decide anything. That belongs to the engine.
//!
//! # Threading and lifetime
//! Every function may be called from any thread, and the crate keeps no state between calls but a
//! timer of each thread that has made an [`interruption::Interruption`]: no statics, no threads.
//! [`interruption::prepare_process`] and [`signals`] set what the whole process
//! does with a signal. [`mapping::Mapping`] and the types on it are `Send` and `Sync`: threads may
//! read and write one mapping at a time, and concurrent accesses to the same bytes leave any mix of
//! them. A mapping outlives the fd that it was made of. A [`dma_buf::CpuAccessGuard`] borrows its
//! fd. Brackets of one buffer should not overlap: where devices are not coherent with the CPU, the
//! beginning of one discards what the CPU wrote in the other.

#![deny(missing_docs, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod copy_file_range;
pub mod counted_buffer;
pub mod dma_buf;
pub mod dma_heap;
pub mod file_attributes;
pub mod fs_verity;
pub mod interruption;
pub mod kernel;
mod kernel_copy;
pub mod mapped_buffer;
pub mod mapped_range;
pub mod mapping;
pub mod memfd;
pub mod memory;
pub mod page_cache;
pub mod page_references;
pub mod process;
pub mod signals;
pub mod udmabuf;

use nix::unistd::{sysconf, SysconfVar};

pub use rustix::io::{Errno, Result};

/// What the last call of the C library failed with: `errno` of the calling thread.
pub fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// The page size of this kernel in bytes.
///
/// See `sysconf(3)`, `_SC_PAGESIZE`.
pub fn page_size_bytes() -> usize {
    let bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(4096)
}
