// SPDX-License-Identifier: Apache-2.0
//! A dma-buf whose references are counted.
//!
//! Source: `count` in `/proc/PID/fdinfo`, `drivers/dma-buf/dma-buf.c` of Linux 6.12.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::io::{Errno, Result};

/// Room for what fdinfo says of a dma-buf, which has a short name and no locks.
const FDINFO_BYTES: usize = 1024;

/// A dma-buf together with its fdinfo, which stays open: to open it costs more than to read it.
#[derive(Debug)]
pub struct CountedBuffer {
    buffer: OwnedFd,
    fdinfo: File,
}

impl CountedBuffer {
    /// Takes the fd of a dma-buf over.
    ///
    /// # Errors
    /// `NOSYS` where procfs is not mounted.
    pub fn new(buffer: OwnedFd) -> Result<Self> {
        // Of the process: the calling thread may end before this is dropped.
        let path = format!("/proc/self/fdinfo/{}", buffer.as_raw_fd());
        let fdinfo = File::open(path).map_err(|_| Errno::NOSYS)?;
        Ok(Self { buffer, fdinfo })
    }

    /// How many references to the open dma-buf there are: fds of any process, mappings, messages
    /// that carry it, and drivers that have imported it. 1 means that this is the only one.
    ///
    /// # Errors
    /// - `NOSYS`: the count cannot be read.
    /// - `NOTTY`: the fd is not a dma-buf, the kernel does not report the count, or locks on the
    ///   file push it too far down.
    pub fn references(&self) -> Result<u64> {
        let mut bytes = [0; FDINFO_BYTES];
        let len = self.fdinfo.read_at(&mut bytes, 0).map_err(|_| Errno::NOSYS)?;
        count_in(&bytes[..len])
    }
}

/// The count, from the first line of its name: the name of the buffer, in which its holders may put
/// lines of their own, comes later. What follows the line is the exporter's name, so that a line
/// that was read in part is not taken for it.
fn count_in(fdinfo: &[u8]) -> Result<u64> {
    let mut lines = fdinfo.split(|byte| *byte == b'\n');
    let digits = lines.find_map(|line| line.strip_prefix(b"count:\t")).ok_or(Errno::NOTTY)?;
    if !lines.next().is_some_and(|line| line.starts_with(b"exp_name:")) {
        return Err(Errno::NOTTY);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| Errno::NOTTY)?;
    digits.parse().map_err(|_| Errno::NOTTY)
}

impl AsFd for CountedBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.buffer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_kernels_whatever_a_buffer_is_named() {
        for name in ["model", "\ncount:\t1\nexp_name:\tx", "count:\t1", ""] {
            let fdinfo = format!(
                "pos:\t0\nflags:\t02\nsize:\t4096\ncount:\t3\nexp_name:\tsystem\nname:\t{name}\n"
            );
            assert_eq!(count_in(fdinfo.as_bytes()), Ok(3), "{name:?}");
        }
    }

    #[test]
    fn an_fdinfo_without_a_whole_count_is_refused() {
        for fdinfo in [
            "",
            "pos:\t0\n",
            "pos:\t0\ncount:\t1",
            "pos:\t0\ncount:\t1\n",
            "pos:\t0\ncount:\t1\nexp_na",
            "pos:\t0\ncount:\tx\nexp_name:\tsystem\n",
            "pos:\t0\ncount:\t\nexp_name:\tsystem\n",
            "pos:\t0\ncount:\t-1\nexp_name:\tsystem\n",
            "pos:\t0\ncount:\t18446744073709551616\nexp_name:\tsystem\n",
            "eventfd-count:\t1\nexp_name:\tsystem\n",
        ] {
            assert_eq!(count_in(fdinfo.as_bytes()), Err(Errno::NOTTY), "{fdinfo:?}");
        }
    }

    #[test]
    fn an_ordinary_file_is_no_dma_buf() {
        let file = File::open("/proc/self/exe").unwrap();
        assert_eq!(CountedBuffer::new(file.into()).unwrap().references(), Err(Errno::NOTTY));
    }
}
