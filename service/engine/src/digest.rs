// SPDX-License-Identifier: Apache-2.0
//! SHA-256 over the bytes in a buffer: the one place that knows the digest library.

use dmabuf_uapi::dma_buf::CpuAccess;

use crate::buffer::BufferView;
use crate::error::{EngineError, Result};

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
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    for (offset_bytes, len_bytes) in ranges.iter().filter(|(_, len_bytes)| *len_bytes > 0) {
        let window = buffer.map(*offset_bytes, *len_bytes, CpuAccess::READ)?;
        let mut done: u64 = 0;
        while done < *len_bytes {
            let count = (len_bytes - done).min(CHUNK_BYTES as u64) as usize;
            let piece = &mut chunk[..count];
            window
                .read(done, piece)
                .map_err(|errno| EngineError::io("digest: read the buffer", errno))?;
            context.update(piece);
            done += count as u64;
        }
        window.finish()?;
    }
    let mut digest = Sha256([0; 32]);
    digest.0.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}
