// SPDX-License-Identifier: Apache-2.0
//! `copy_file_range(2)` between a file and a buffer. The kernel decides by the file's `O_DIRECT`
//! whether it is direct.

use std::fs::File;
use std::os::fd::BorrowedFd;

use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::{page_size_bytes, Result as KernelResult};

use super::batches::in_batches;
use super::chunks::in_chunks;
use super::range_copy::{Moved, RangeCopy};
use crate::buffer::BufferView;
use crate::error::{errno_text, Result};
use crate::io_path::{Direction, Support};

/// A regular file that every process may read: itself.
const PROBE_FILE: &str = "/proc/self/exe";

const OPERATION: &str = "copy_file_range";

pub(super) fn probe(sample: &BufferView<'_>) -> Support {
    let file = match File::open(PROBE_FILE) {
        Ok(file) => file,
        Err(error) => {
            let detail = format!("cannot open {PROBE_FILE}: {error}");
            return Support { supported: false, detail: detail.into() };
        }
    };
    // For a count of 0, and at the end of a file, the kernel returns 0 whatever the buffer is.
    support(copy_file_range(&file, 0, sample.fd, 0, page_size_bytes()))
}

/// What the answer to a copy of bytes that both sides have tells.
fn support(copied: KernelResult<usize>) -> Support {
    let answer = |supported, detail: String| Support { supported, detail: detail.into() };
    match copied {
        Ok(0) => answer(false, "the kernel copied nothing".to_owned()),
        Ok(_) => answer(true, "the kernel copies from files to these buffers".to_owned()),
        Err(errno) => answer(false, format!("the kernel answers {}", errno_text(errno))),
    }
}

pub(super) fn run_direct(copy: &RangeCopy<'_, '_>) -> Result<Moved> {
    let Some(file) = copy.file.direct_fd() else { return Ok(Moved::not_possible()) };
    if copy.direction == Direction::Save {
        return in_batches(copy, true, OPERATION, |done, batch| call(copy, file, done, batch));
    }
    // The kernel's CPU copies the last part of a block, and zeroes what a hole leaves out.
    let ends_in_block = copy.range.file_end_bytes() % copy.offset_align_bytes() != 0;
    if ends_in_block || copy.file.facts().is_sparse {
        copy.buffer.begin()?;
    }
    in_chunks(copy, OPERATION, |done, batch| call(copy, file, done, batch))
}

pub(super) fn run_buffered(copy: &RangeCopy<'_, '_>) -> Result<Moved> {
    let Some(file) = copy.file.buffered_fd() else { return Ok(Moved::not_possible()) };
    // The kernel's CPU copies everything.
    copy.buffer.begin()?;
    in_batches(copy, false, OPERATION, |done, batch| call(copy, file, done, batch))
}

fn call(
    copy: &RangeCopy<'_, '_>,
    file: BorrowedFd<'_>,
    done: u64,
    batch: usize,
) -> KernelResult<usize> {
    let file_offset = copy.range.file_offset_bytes + done;
    let buffer_offset = copy.range.buffer_offset_bytes + done;
    let buffer = copy.buffer.buffer().fd;
    match copy.direction {
        Direction::Load => copy_file_range(file, file_offset, buffer, buffer_offset, batch),
        Direction::Save => copy_file_range(buffer, buffer_offset, file, file_offset, batch),
    }
}

#[cfg(test)]
mod tests {
    use dmabuf_uapi::Errno;

    use super::*;

    #[test]
    fn only_copied_bytes_tell_of_support() {
        assert!(support(Ok(1)).supported);
        // Exporters without support answer so, if nothing is to be copied.
        assert!(!support(Ok(0)).supported);
        for errno in [Errno::INVAL, Errno::XDEV, Errno::BADF, Errno::BUSY] {
            assert!(!support(Err(errno)).supported, "{errno}");
        }
    }

    #[test]
    fn the_probe_file_has_a_byte_to_copy() {
        assert!(File::open(PROBE_FILE).unwrap().metadata().unwrap().len() > 0);
    }
}
