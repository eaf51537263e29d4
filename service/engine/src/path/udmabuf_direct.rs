// SPDX-License-Identifier: Apache-2.0
//! `O_DIRECT` reads into the memfd behind a udmabuf. Needs no support by the kernel's dma-buf code.
//!
//! Only for buffers whose memfd the engine has mapped: nobody else has it, and it is populated.

use dmabuf_uapi::Errno;

use super::chunks::in_chunks;
use super::range_copy::{Moved, RangeCopy};
use crate::buffer::BufferView;
use crate::error::Result;
use crate::io_path::Support;

pub(super) fn probe(sample: &BufferView<'_>) -> Support {
    let supported = sample.backing.is_some();
    let detail = if supported {
        "there is a memfd behind these buffers"
    } else {
        "no memfd is behind these buffers"
    };
    Support { supported, detail: detail.into() }
}

pub(super) fn run(copy: &RangeCopy<'_, '_>) -> Result<Moved> {
    let backing = copy.buffer.buffer().backing;
    let (Some(file), Some(backing)) = (copy.file.direct_fd(), backing) else {
        return Ok(Moved::not_possible());
    };
    in_chunks(copy, "read the file directly", |done, batch| {
        let start = usize::try_from(copy.range.buffer_offset_bytes + done);
        let start = start.map_err(|_| Errno::OVERFLOW)?;
        let range = start..start.checked_add(batch).ok_or(Errno::OVERFLOW)?;
        backing.mapping().pread(range, file, copy.range.file_offset_bytes + done)
    })
}
