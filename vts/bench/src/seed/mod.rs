// SPDX-License-Identifier: Apache-2.0
//! The methods of the public series "Implement dmabuf direct I/O via copy_file_range", v4 (Message-ID
//! `20250603095245.17478-1-tao.wangtao@honor.com`): what its tables compare, done anew.

pub mod load;
pub mod save;

use anyhow::Result;
use dmabuf_engine::errno_text;
use dmabuf_uapi::Errno;

use crate::buffer::Exporter;
use crate::outcome::not_possible;

/// The call that moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `read(2)` or `write(2)` on a mapping of the buffer, made for it and unmade when the buffer is closed.
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
    /// Its number in the table.
    pub row: u32,
    /// Its name in the table.
    pub name: &'static str,
    /// Who makes the buffers.
    pub exporter: Exporter,
    /// Whether the file is open with `O_DIRECT`.
    pub direct: bool,
    /// What moves the bytes.
    pub call: Call,
}

/// `copy_file_range(2)` says in these ways that it does not copy between such files.
fn unless_refused<T>(answer: dmabuf_uapi::Result<T>) -> Result<T> {
    answer.map_err(|errno| match errno {
        Errno::INVAL | Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS => {
            not_possible(format!("the kernel refused: {}", errno_text(errno)))
        }
        other => anyhow::anyhow!("{}", errno_text(other)),
    })
}
