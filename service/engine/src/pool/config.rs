// SPDX-License-Identifier: Apache-2.0
//! How much the pool keeps, and how long.

use std::time::Duration;

/// Up to this size, mapping and zeroing a buffer costs more than making a new one. The pool keeps a
/// buffer of such a size only for its last client, which may overwrite its own bytes.
pub(super) const SMALL_BUFFER_BYTES: u64 = 256 << 10;

/// How much the pool keeps, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The most bytes of buffers that no client has. 0 turns the pool off.
    pub max_bytes: u64,
    /// After so long without a request the pool frees everything.
    pub idle: Duration,
}

impl PoolConfig {
    /// No pool.
    pub const OFF: Self = Self::of_bytes(0);

    /// A pool for small buffers only, which holds nothing but what clients have just released: it
    /// makes no buffer ahead and zeroes none. Making and freeing a small buffer costs about as much
    /// as loading it.
    pub const SMALL_BUFFERS: Self = Self::of_bytes(SMALL_BUFFER_BYTES);

    /// A pool of at most so many bytes.
    pub const fn of_bytes(max_bytes: u64) -> Self {
        Self { max_bytes, idle: Duration::from_secs(10) }
    }
}
