// SPDX-License-Identifier: Apache-2.0
//! `copy_file_range(2)` with explicit offsets on both sides.
//!
//! A null offset would move the shared file position of the dma-buf, which nothing can set back.

use std::os::fd::AsFd;

use rustix::io::Result;

/// Asks the kernel to copy `len_bytes` from `input` to `output`; returns how many bytes it copied.
///
/// The count may be short (the end of the file or of the buffer, a signal), and 0 at or past the
/// end. No file position changes.
///
/// # Errors
/// Between a file and a dma-buf, on a kernel with that support (`vts/device/kernel/README.md`):
/// - `INVAL`: the kernel has no support for this pair of files, or the ordinary file has `O_DIRECT`
///   and an offset or the length does not fit its alignment. Kernels may also answer `XDEV` for the
///   former.
/// - `BADF`: `input` is not open for reading, `output` not for writing, or `output` has `O_APPEND`.
/// - `ISDIR`: one side is a directory.
/// - `BUSY`: a device is attached to the dma-buf, or the kernel has it mapped.
/// - `IO` and others of the file system.
pub fn copy_file_range(
    input: impl AsFd,
    input_offset_bytes: u64,
    output: impl AsFd,
    output_offset_bytes: u64,
    len_bytes: usize,
) -> Result<usize> {
    let mut input_offset = input_offset_bytes;
    let mut output_offset = output_offset_bytes;
    rustix::fs::copy_file_range(
        input,
        Some(&mut input_offset),
        output,
        Some(&mut output_offset),
        len_bytes,
    )
}
