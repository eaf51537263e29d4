// SPDX-License-Identifier: Apache-2.0
//! The page cache: counts the cached pages of a file.
//!
//! Source: `include/uapi/linux/mman.h` of Linux 6.5 and later (`cachestat(2)`).

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};

use crate::last_errno;

/// `SYS_cachestat`: the same number on every architecture.
const SYS_CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range`.
#[repr(C)]
struct CachestatRange {
    off: u64,
    len: u64,
}

/// `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    nr_cache: u64,
    nr_dirty: u64,
    nr_writeback: u64,
    nr_evicted: u64,
    nr_recently_evicted: u64,
}

/// Counts the pages of the whole file that are in the page cache.
///
/// # Errors
/// As for [`cached_pages_in`].
pub fn cached_pages(file: impl AsFd) -> Result<u64> {
    // A length of 0 means up to the end of the file.
    count(file, CachestatRange { off: 0, len: 0 })
}

/// Counts the pages of a range of a file that are in the page cache, and brings none in.
///
/// # Errors
/// - `INVAL`: the range is empty.
/// - `NOSYS`: the kernel is older than 6.5.
/// - `PERM`: the caller may not write the file and does not own it.
/// - `OPNOTSUPP`: the file has no page cache (hugetlbfs).
pub fn cached_pages_in(file: impl AsFd, range: Range<u64>) -> Result<u64> {
    if range.is_empty() {
        return Err(Errno::INVAL);
    }
    count(file, CachestatRange { off: range.start, len: range.end - range.start })
}

fn count(file: impl AsFd, mut range: CachestatRange) -> Result<u64> {
    let mut stat = Cachestat::default();
    let flags: libc::c_uint = 0;
    // SAFETY: cachestat reads one `struct cachestat_range` and fills one `struct cachestat`; both
    // are repr(C), of the kernel's size (checked by a test), exclusively borrowed and alive across
    // the call.
    let returned = unsafe {
        libc::syscall(SYS_CACHESTAT, file.as_fd().as_raw_fd(), &raw mut range, &raw mut stat, flags)
    };
    if returned == 0 {
        Ok(stat.nr_cache)
    } else {
        Err(last_errno())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn layouts_match_the_kernel_header() {
        assert_eq!(size_of::<CachestatRange>(), 16);
        assert_eq!(size_of::<Cachestat>(), 40);
    }

    #[test]
    fn written_pages_are_counted() {
        let memfd = crate::memfd::create_sealed(c"cached", 8192).unwrap();
        let mut file = std::fs::File::from(memfd);
        match cached_pages(&file) {
            Err(Errno::NOSYS) => return,
            before => assert_eq!(before, Ok(0)),
        }
        file.write_all(&[1; 8192]).unwrap();
        let page_bytes = crate::page_size_bytes() as u64;
        assert_eq!(cached_pages(&file), Ok(8192_u64.div_ceil(page_bytes)));
        assert_eq!(cached_pages_in(&file, 0..page_bytes), Ok(1));
        assert_eq!(cached_pages_in(&file, 0..0), Err(Errno::INVAL));
    }
}
