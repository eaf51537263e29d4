// SPDX-License-Identifier: Apache-2.0
//! What a request needs of a buffer, and the kinds of buffer that the pool tells apart.

use std::sync::Arc;
use std::time::Instant;

use super::config::SMALL_BUFFER_BYTES;
use crate::buffer::PageKind;
use crate::context::ClientId;

/// What a request needs of a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllocRequest {
    /// Whole pages.
    pub(crate) size_bytes: u64,
    /// Who gets it.
    pub(crate) client: ClientId,
    /// A load is going to overwrite every byte that was asked for.
    pub(crate) overwritten: bool,
    /// When the request came to allocating.
    pub(crate) now: Instant,
}

/// A kind of buffer, each of which can stand for the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) heap: Arc<str>,
    pub(super) pages: Option<PageKind>,
    pub(super) size_bytes: u64,
    /// Whether a client that has given it back may still hold pages of it.
    pub(super) pages_can_be_held: bool,
}

impl Key {
    /// Whether a buffer of this kind is zeroed for other clients: it costs less than a new one, and
    /// nobody else can reach its memory.
    pub(super) fn pays_to_zero(&self) -> bool {
        pays_to_zero(self.size_bytes) && !self.pages_can_be_held
    }
}

/// Whether a buffer of so many bytes costs less from the pool, zeroed, than anew.
pub(super) fn pays_to_zero(size_bytes: u64) -> bool {
    size_bytes > SMALL_BUFFER_BYTES
}
