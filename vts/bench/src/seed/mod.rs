// SPDX-License-Identifier: Apache-2.0
//! The methods of the public series "Implement dmabuf direct I/O via copy_file_range", v4
//! (Message-ID `20250603095245.17478-1-tao.wangtao@honor.com`), measured again.

pub mod load;
pub mod save;

use anyhow::Result;
use dmabuf_engine::errno_text;
use dmabuf_uapi::Errno;

use crate::buffer::Exporter;
use crate::outcome::not_possible;

/// The system call that moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `read(2)` or `write(2)` on a mapping of the buffer, made for the transfer and unmapped when
    /// the buffer is closed.
    ReadWrite,
    /// `sendfile(2)`.
    SendFile,
    /// `splice(2)` through a pipe of 1 MiB.
    Splice,
    /// `copy_file_range(2)`.
    CopyFileRange,
}

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The number of the row in the table.
    pub row: u32,
    /// The name of the row in the table.
    pub name: &'static str,
    /// The exporter of the buffers.
    pub exporter: Exporter,
    /// Whether the file is open with `O_DIRECT`.
    pub direct: bool,
    /// The system call that moves the bytes.
    pub call: Call,
}

/// Converts the errnos by which `copy_file_range(2)` refuses a pair of files to "not possible".
fn unless_refused<T>(answer: dmabuf_uapi::Result<T>) -> Result<T> {
    answer.map_err(|errno| match errno {
        Errno::INVAL | Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS => {
            not_possible(format!("the kernel refused: {}", errno_text(errno)))
        }
        other => anyhow::anyhow!("{}", errno_text(other)),
    })
}
