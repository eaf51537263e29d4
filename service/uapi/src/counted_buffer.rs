// SPDX-License-Identifier: Apache-2.0
//! A dma-buf whose references are counted.
//!
//! Source: `count` in `/proc/PID/fdinfo`, `drivers/dma-buf/dma-buf.c` of Linux 6.12.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::{Errno, Result};

/// Room for what fdinfo says of a dma-buf, which has a short name and no locks.
const FDINFO_BYTES: usize = 1024;

/// A dma-buf together with its fdinfo, which stays open: to open it costs more than to read it.
#[derive(Debug)]
pub struct CountedBuffer {
    buffer: OwnedFd,
    fdinfo: File,
    /// Where the line with the count was last: what is before it seldom changes.
    count_at: AtomicUsize,
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
        Ok(Self { buffer, fdinfo, count_at: AtomicUsize::new(0) })
    }

    /// How many references to the open dma-buf there are: fds of any process, mappings, messages that carry it, and
    /// drivers that have imported it. 1 means that this is the only one.
    ///
    /// # Errors
    /// - `NOSYS`: the count cannot be read.
    /// - `NOTTY`: the fd is no dma-buf, or the kernel does not report the count.
    pub fn references(&self) -> Result<u64> {
        let mut bytes = [0; FDINFO_BYTES];
        let len = self.fdinfo.read_at(&mut bytes, 0).map_err(|_| Errno::NOSYS)?;
        let (count_at, count) = count_in(&bytes[..len], self.count_at.load(Ordering::Relaxed))?;
        self.count_at.store(count_at, Ordering::Relaxed);
        Ok(count)
    }
}

/// The count, and where its line is, which is looked for at `expected_at` first. It is the first line of its name, as the
/// name of the buffer, which its holders choose, comes later. That of the exporter is next.
fn count_in(fdinfo: &[u8], expected_at: usize) -> Result<(usize, u64)> {
    const LINE: &[u8] = b"\ncount:\t";
    let is_at = |at: &usize| fdinfo.get(*at..).is_some_and(|rest| rest.starts_with(LINE));
    let at = Some(expected_at).filter(is_at).or_else(|| (0..fdinfo.len()).find(is_at));
    let at = at.ok_or(Errno::NOTTY)?;
    let rest = &fdinfo[at + LINE.len()..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !rest[digits..].starts_with(b"\nexp_name:") {
        return Err(Errno::NOTTY);
    }
    let count = std::str::from_utf8(&rest[..digits]).map_err(|_| Errno::NOSYS)?;
    Ok((at, count.parse().map_err(|_| Errno::NOSYS)?))
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
        let fdinfo = |name| {
            format!(
                "pos:\t0\nflags:\t02\nsize:\t4096\ncount:\t3\nexp_name:\tsystem\nname:\t{name}\n"
            )
        };
        let place = "pos:\t0\nflags:\t02\nsize:\t4096".len();
        for expected_at in [0, place - 1, place, place + 1, usize::MAX] {
            let count_in = |fdinfo: &str| count_in(fdinfo.as_bytes(), expected_at);
            assert_eq!(count_in(&fdinfo("model")), Ok((place, 3)));
            assert_eq!(count_in(&fdinfo("\ncount:\t1\nexp_name:\tx")), Ok((place, 3)));
            assert_eq!(count_in("pos:\t0\ncount:\t1"), Err(Errno::NOTTY));
            assert_eq!(count_in("pos:\t0\ncount:\tx\nexp_name:\tsystem\n"), Err(Errno::NOTTY));
            assert_eq!(count_in("pos:\t0\ncount:\t\nexp_name:\tsystem\n"), Err(Errno::NOSYS));
        }
    }

    #[test]
    fn an_ordinary_file_is_no_dma_buf() {
        let file = File::open("/proc/self/exe").unwrap();
        assert_eq!(CountedBuffer::new(file.into()).unwrap().references(), Err(Errno::NOTTY));
    }
}
