// SPDX-License-Identifier: Apache-2.0
//! `O_DIRECT` reads into the memfd behind a udmabuf. Needs no support by the kernel's dma-buf code.
//!
//! Only for buffers that the engine has just made: nobody else has their memfd, and it is populated already.

use dmabuf_uapi::Errno;

use super::split::{split_aligned, LoadTail, Memory};
use super::{
    is_refusal, Direction, Progress, Reason, Refusal, SegmentFacts, Split, Support, Transfer,
    TransferPath,
};
use crate::buffer::BufferView;
use crate::error::{EngineError, Result};

const NO_MEMFD: &str = "this request has mapped no memfd behind the buffer";

pub(crate) struct UdmabufDirect;

impl TransferPath for UdmabufDirect {
    fn probe(&self, sample: &BufferView<'_>) -> Support {
        let supported = sample.backing.is_some();
        let detail = if supported { "there is a memfd behind these buffers" } else { NO_MEMFD };
        Support { supported, detail: detail.to_owned() }
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
        let place = |bytes: u64| {
            usize::try_from(bytes).map_err(|_| EngineError::io("fill the memfd", Errno::OVERFLOW))
        };
        let align = u64::from(transfer.file.facts().offset_align_bytes());
        let mut bytes = 0;
        while bytes < transfer.len_bytes {
            let batch = (transfer.len_bytes - bytes).min(transfer.batch_bytes);
            let start = transfer.buffer_offset_bytes + bytes;
            let range = place(start)?..place(start + batch)?;
            match backing.mapping().pread(range, file, transfer.file_offset_bytes + bytes) {
                Ok(0) => break,
                Ok(count) => {
                    bytes += count as u64;
                    (transfer.follower)(bytes);
                    // A part of a block is the last of a file that has become shorter.
                    if bytes % align != 0 {
                        break;
                    }
                }
                Err(errno) if is_refusal(errno) => {
                    return Ok(Progress { bytes, refused: Some(errno) });
                }
                Err(errno) => return Err(EngineError::io("read the file directly", errno)),
            }
        }
        Ok(Progress { bytes, refused: None })
    }
}
