// SPDX-License-Identifier: Apache-2.0
//! SHA-256 over the bytes in a buffer: the one place that knows the digest library.

use dmabuf_uapi::dma_buf::CpuAccess;

use crate::buffer::{BufferView, MappedWindow};
use crate::error::{EngineError, Result};
use crate::request::ResolvedSegment;
use crate::watermarks::Watermarks;

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256(pub [u8; 32]);

impl std::fmt::Display for Sha256 {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// How much is copied out of the buffer at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// Digests ranges of a buffer, each an offset and a length in bytes, in the order given.
///
/// # Errors
/// [`EngineError::Io`] where the buffer cannot be mapped or a range lies outside it.
pub fn sha256_of_ranges(buffer: &BufferView<'_>, ranges: &[(u64, u64)]) -> Result<Sha256> {
    let mut hasher = Hasher::default();
    for (offset_bytes, len_bytes) in ranges.iter().filter(|(_, len_bytes)| *len_bytes > 0) {
        let window = buffer.map(*offset_bytes, *len_bytes, CpuAccess::READ)?;
        hasher.update(&window, *len_bytes)?;
        window.finish()?;
    }
    Ok(hasher.finish())
}

/// Digests segments while they are being loaded, in their order; `None` if the load fails.
///
/// # Errors
/// As for [`sha256_of_ranges`].
pub(crate) fn sha256_as_it_comes(
    buffer: &BufferView<'_>,
    segments: &[ResolvedSegment],
    watermarks: &Watermarks,
) -> Result<Option<Sha256>> {
    let mut hasher = Hasher::default();
    for (index, segment) in segments.iter().enumerate() {
        let end = segment.buffer_end_bytes();
        let mut done = segment.buffer_offset_bytes;
        while done < end {
            let Some(reached) = watermarks.wait_beyond(index, done) else { return Ok(None) };
            let reached = reached.min(end);
            if reached == done {
                break;
            }
            // A bracket of its own, begun when the bytes are there.
            let window = buffer.map(done, reached - done, CpuAccess::READ)?;
            hasher.update(&window, reached - done)?;
            window.finish()?;
            done = reached;
        }
    }
    Ok(Some(hasher.finish()))
}

struct Hasher {
    context: ring::digest::Context,
    chunk: Vec<u8>,
}

impl Default for Hasher {
    fn default() -> Self {
        let context = ring::digest::Context::new(&ring::digest::SHA256);
        Self { context, chunk: vec![0; CHUNK_BYTES] }
    }
}

impl Hasher {
    fn update(&mut self, window: &MappedWindow<'_>, len_bytes: u64) -> Result<()> {
        let mut done: u64 = 0;
        while done < len_bytes {
            let count = (len_bytes - done).min(CHUNK_BYTES as u64) as usize;
            let piece = &mut self.chunk[..count];
            window
                .read(done, piece)
                .map_err(|errno| EngineError::io("digest: read the buffer", errno))?;
            self.context.update(piece);
            done += count as u64;
        }
        Ok(())
    }

    fn finish(self) -> Sha256 {
        let mut digest = Sha256([0; 32]);
        digest.0.copy_from_slice(self.context.finish().as_ref());
        digest
    }
}
