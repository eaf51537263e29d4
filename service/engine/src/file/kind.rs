// SPDX-License-Identifier: Apache-2.0
//! What an fd refers to, in words.

use std::os::fd::BorrowedFd;

use dmabuf_uapi::file_attributes::cached_file_attributes;
use rustix::fs::FileType;

/// What an fd refers to, with its article, for error messages.
pub(crate) fn describe_kind(fd: BorrowedFd<'_>) -> &'static str {
    let Ok(attributes) = cached_file_attributes(fd) else {
        return "not a file";
    };
    match FileType::from_raw_mode(attributes.mode.into()) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "an anonymous file",
    }
}
