// SPDX-License-Identifier: Apache-2.0
//! `copy_file_range(2)` between a file and a buffer. The kernel decides by the file's `O_DIRECT` whether it is direct.

use std::fs::File;

use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::{page_size_bytes, Errno};

use super::in_flight::in_flight;
use super::split::{split_aligned, LoadTail, Memory};
use super::{
    Direction, Progress, Reason, Refusal, SegmentFacts, Split, Support, Transfer, TransferPath,
    Words,
};
use crate::buffer::BufferView;
use crate::error::{errno_text, Result};

/// A regular file that every process may read: itself.
const PROBE_FILE: &str = "/proc/self/exe";

pub(crate) struct CopyFileRange;

impl TransferPath for CopyFileRange {
    fn probe(&self, sample: &BufferView<'_>) -> Support {
        let answer = |supported, detail: Words| Support { supported, detail };
        let file = match File::open(PROBE_FILE) {
            Ok(file) => file,
            Err(error) => {
                return answer(false, format!("cannot open {PROBE_FILE}: {error}").into())
            }
        };
        match copy_file_range(&file, 0, sample.fd, 0, page_size_bytes()) {
            Ok(0) => answer(false, "the kernel copied nothing".into()),
            Ok(_) => answer(true, "the kernel copies from files to these buffers".into()),
            Err(errno) => answer(false, format!("the kernel answers {}", errno_text(errno)).into()),
        }
    }

    fn split(&self, direct: bool, facts: &SegmentFacts<'_>) -> std::result::Result<Split, Refusal> {
        if direct {
            split_aligned(facts, Memory::Buffer, LoadTail::InBody)
        } else if facts.file.has_buffered_fd {
            Ok(Split { head_bytes: 0, body_bytes: facts.segment.len_bytes, tail_bytes: 0 })
        } else {
            Err(Refusal::new(
                Reason::FileOpenedDirect,
                "the file is opened with O_DIRECT and cannot be reopened without it",
            ))
        }
    }

    fn run(&self, transfer: &Transfer<'_>) -> Result<Progress> {
        let file =
            if transfer.direct { transfer.file.direct_fd() } else { transfer.file.buffered_fd() };
        let Some(file) = file else {
            return Ok(Progress { bytes: 0, refused: Some(Errno::BADF) });
        };
        let buffer = transfer.buffer.fd;
        in_flight(transfer, "copy_file_range", |done, batch| {
            let file_offset = transfer.file_offset_bytes + done;
            let buffer_offset = transfer.buffer_offset_bytes + done;
            match transfer.direction {
                Direction::Load => copy_file_range(file, file_offset, buffer, buffer_offset, batch),
                Direction::Save => copy_file_range(buffer, buffer_offset, file, file_offset, batch),
            }
        })
    }
}
