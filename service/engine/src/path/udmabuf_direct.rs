// SPDX-License-Identifier: Apache-2.0
//! `O_DIRECT` reads into the memfd behind a udmabuf. Needs no support by the kernel's dma-buf code.
//!
//! Only for buffers that the engine has just made: nobody else has their memfd, and it is populated already.

use dmabuf_uapi::Errno;

use super::in_flight::in_flight;
use super::split::{split_aligned, LoadTail, Memory};
use super::{
    Direction, Progress, Reason, Refusal, SegmentFacts, Split, Support, Transfer, TransferPath,
};
use crate::buffer::BufferView;
use crate::error::Result;

const NO_MEMFD: &str = "this request has mapped no memfd behind the buffer";

pub(crate) struct UdmabufDirect;

impl TransferPath for UdmabufDirect {
    fn probe(&self, sample: &BufferView<'_>) -> Support {
        let supported = sample.backing.is_some();
        let detail = if supported {
            "there is a memfd behind these buffers"
        } else {
            "no memfd is behind these buffers"
        };
        Support { supported, detail: detail.into() }
    }

    fn split(&self, direct: bool, facts: &SegmentFacts<'_>) -> std::result::Result<Split, Refusal> {
        if facts.direction == Direction::Save || !facts.buffer_is_backed {
            return Err(Refusal::new(Reason::HeapUnsuitable, NO_MEMFD));
        }
        if !direct {
            return Err(Refusal::new(Reason::KernelUnsupported, "this path is always direct"));
        }
        split_aligned(facts, Memory::Buffer, LoadTail::Edge)
    }

    fn run(&self, transfer: &Transfer<'_>) -> Result<Progress> {
        let (Some(file), Some(backing)) = (transfer.file.direct_fd(), transfer.buffer.backing)
        else {
            return Ok(Progress { bytes: 0, refused: Some(Errno::BADF) });
        };
        in_flight(transfer, "read the file directly", |done, batch| {
            let start = usize::try_from(transfer.buffer_offset_bytes + done);
            let start = start.map_err(|_| Errno::OVERFLOW)?;
            let range = start..start.checked_add(batch).ok_or(Errno::OVERFLOW)?;
            backing.mapping().pread(range, file, transfer.file_offset_bytes + done)
        })
    }
}
