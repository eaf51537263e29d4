// SPDX-License-Identifier: Apache-2.0
//! A range moved call by call, by calls that report how far they came.

use dmabuf_uapi::{Errno, Result as KernelResult};

use super::{is_refusal, Progress, Transfer};
use crate::error::{EngineError, Result};

/// Calls `call` with the bytes done so far and the bytes to move next, until the range is done, the file ends, or the
/// kernel will not go on.
///
/// # Errors
/// [`EngineError::Io`] of `operation`, for an answer that no other way would change.
pub(super) fn in_batches(
    transfer: &Transfer<'_>,
    operation: &str,
    call: impl Fn(u64, usize) -> KernelResult<usize>,
) -> Result<Progress> {
    let align = u64::from(transfer.file.facts().offset_align_bytes());
    let mut bytes = 0;
    while bytes < transfer.len_bytes {
        let batch = (transfer.len_bytes - bytes).min(transfer.batch_bytes) as usize;
        match call(bytes, batch) {
            Ok(0) => break,
            Ok(count) => {
                bytes += count as u64;
                (transfer.follower)(bytes);
                // A part of a block is the last of a file that has become shorter.
                if transfer.direct && bytes % align != 0 {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) if is_refusal(errno) => return Ok(Progress { bytes, refused: Some(errno) }),
            Err(errno) => return Err(EngineError::io(operation, errno)),
        }
    }
    Ok(Progress { bytes, refused: None })
}
