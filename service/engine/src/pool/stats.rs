// SPDX-License-Identifier: Apache-2.0
//! What the pool has and has done, in numbers.

use super::pressure::PressureWatch;

/// What a pool has and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Requests that found a buffer.
    pub hits: u64,
    /// Requests that did not.
    pub misses: u64,
    /// Buffers that clients released and the pool reclaimed.
    pub reclaimed: u64,
    /// Buffers made ahead of requests.
    pub made: u64,
    /// Buffers freed because memory was short, nobody had asked for a while (for small ones and for
    /// those whose pages a client may still hold, a second), or a device still used them when their
    /// client had released them.
    pub freed: u64,
    /// Bytes zeroed off the request path: of buffers made, by the kernel, and of reclaimed ones.
    pub zeroed_bytes: u64,
    /// Buffers that only the pool holds.
    pub free: u64,
    /// Their bytes.
    pub free_bytes: u64,
    /// Buffers that clients have and that may come back.
    pub in_use: u64,
    /// Whether the pool sees memory pressure, which makes it free its buffers.
    pub pressure: PressureWatch,
}
