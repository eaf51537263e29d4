// SPDX-License-Identifier: Apache-2.0
//! A range moved call by call, by calls that report how far they came.

use dmabuf_uapi::{Errno, Result as KernelResult};

use super::range_copy::{is_refusal, Moved, RangeCopy};
use crate::buffer::MAX_INTERRUPTED;
use crate::error::{EngineError, Result};
use crate::operation::Operation;

/// Calls `call` with the bytes done so far and the bytes to move next, until the range is done, the
/// file ends, or the kernel does not go on. `direct` says that the calls move whole blocks.
///
/// # Errors
/// [`EngineError::Io`] of `operation`, for an answer that no other path would change; those of the
/// request's context and of [`CpuView::wait_for_devices`].
///
/// [`CpuView::wait_for_devices`]: crate::buffer::CpuView::wait_for_devices
pub(super) fn in_batches(
    copy: &RangeCopy<'_, '_>,
    direct: bool,
    operation: Operation,
    call: impl Fn(u64, usize) -> KernelResult<usize>,
) -> Result<Moved> {
    let mut bytes = 0;
    let mut interrupted = 0;
    while bytes < copy.range.len_bytes {
        // copy_file_range waits for them, and a client can put a new fence into its buffer at any
        // time.
        copy.buffer.wait_for_devices()?;
        let batch =
            copy.context.begin_batch((copy.range.len_bytes - bytes).min(copy.batch_bytes))?;
        let limit = copy.buffer.limit_in_kernel();
        let result = call(bytes, batch.len_bytes as usize);
        drop((limit, batch));
        match result {
            Ok(0) => break,
            Ok(count) => {
                interrupted = 0;
                let before = bytes;
                bytes += count as u64;
                (copy.moved)(before..bytes);
                // A part of a block is the last of a file that has become shorter.
                if direct && bytes % copy.offset_align_bytes() != 0 {
                    break;
                }
            }
            Err(Errno::INTR) if interrupted < MAX_INTERRUPTED => interrupted += 1,
            Err(Errno::INTR) => return Err(EngineError::Busy),
            Err(errno) if is_refusal(errno) => return Ok(Moved { bytes, refused: Some(errno) }),
            Err(errno) => return Err(EngineError::io(operation, errno)),
        }
    }
    Ok(Moved::bytes(bytes))
}
