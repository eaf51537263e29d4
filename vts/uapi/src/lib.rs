// SPDX-License-Identifier: Apache-2.0
//! Typed Linux calls that only tests and benchmarks make; the product's are in [`dmabuf_uapi`].
//!
//! One module per kernel interface, each a thin and safe wrapper, with the conventions of [`dmabuf_uapi`]: functions
//! return [`rustix::io::Result`], take file descriptors as [`std::os::fd::AsFd`] and return new ones as
//! [`std::os::fd::OwnedFd`] with `O_CLOEXEC` set.
//!
//! # Threading and lifetime
//! Every function may be called from any thread, and the crate keeps no state between calls.

#![deny(missing_docs, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

pub mod anonymous_fds;
