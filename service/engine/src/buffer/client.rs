// SPDX-License-Identifier: Apache-2.0
//! Checks of a buffer fd that a client passed.

use std::os::fd::BorrowedFd;

use dmabuf_uapi::dma_buf;
use dmabuf_uapi::file_attributes::cached_file_attributes;
use rustix::fs::{fcntl_get_seals, fcntl_getfl, OFlags, SealFlags};

use super::view::{BufferKind, BufferView};
use crate::error::{errno_text, Argument, EngineError, Result};
use crate::file::describe_kind;

/// What a request does with a client's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferUse {
    /// A load writes to it.
    Fill,
    /// A save reads from it.
    Read,
}

impl<'a> BufferView<'a> {
    /// Checks a client's fd: it must be a dma-buf, or a memfd sealed against shrinking where
    /// `allow_memfd` says so.
    ///
    /// # Errors
    /// [`EngineError::UnsupportedFile`], [`EngineError::BadFd`] or [`EngineError::Inspect`], naming
    /// `argument`.
    pub(crate) fn of_client(
        fd: BorrowedFd<'a>,
        argument: Argument,
        allow_memfd: bool,
    ) -> Result<Self> {
        let no_size = |errno| EngineError::inspect(argument, "size of the buffer", errno);
        if let Some(size_bytes) = dma_buf::size_if_dma_buf(fd).map_err(no_size)? {
            return Ok(Self::new(fd, size_bytes, BufferKind::DmaBuf));
        }
        if allow_memfd && fcntl_get_seals(fd).is_ok_and(|s| s.contains(SealFlags::SHRINK)) {
            // The file position of a memfd belongs to the client, so seeking is out of the
            // question.
            let size_bytes = cached_file_attributes(fd).map_err(no_size)?.size_bytes;
            return Ok(Self::new(fd, size_bytes, BufferKind::Memfd));
        }
        open_flags(fd, argument)?;
        let (found, expected) = (describe_kind(fd), "a dma-buf");
        Err(EngineError::UnsupportedFile { argument, found, expected })
    }
}

/// Checks that a client's buffer is open in a mode that permits the use.
///
/// # Errors
/// [`EngineError::BadFd`], naming `argument`.
pub(crate) fn check_client_mode(
    fd: BorrowedFd<'_>,
    argument: Argument,
    usage: BufferUse,
) -> Result<()> {
    let mode = open_flags(fd, argument)? & OFlags::RWMODE;
    match usage {
        BufferUse::Fill if mode != OFlags::RDWR => Err(EngineError::bad_fd(
            argument,
            "is not open for reading and writing, as filling a buffer needs",
        )),
        BufferUse::Read if mode == OFlags::WRONLY => {
            Err(EngineError::bad_fd(argument, "is not open for reading"))
        }
        _ => Ok(()),
    }
}

fn open_flags(fd: BorrowedFd<'_>, argument: Argument) -> Result<OFlags> {
    let flags =
        fcntl_getfl(fd).map_err(|errno| EngineError::bad_fd(argument, errno_text(errno)))?;
    if flags.contains(OFlags::PATH) {
        return Err(EngineError::bad_fd(argument, "is an O_PATH fd, expected an open buffer"));
    }
    Ok(flags)
}
