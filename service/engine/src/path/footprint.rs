// SPDX-License-Identifier: Apache-2.0
//! What a long buffered load leaves in the page cache: nothing that it has brought in, as far as
//! the kernel tells what was there before: `cachestat(2)`, Linux 6.5, and only to who may write the
//! file or owns it.

use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;

use dmabuf_uapi::page_cache::cached_pages_in;
use rustix::fs::{fadvise, Advice};

/// The unit in which the page cache is looked at. Shorter loads leave their pages there.
pub(super) const RUN_BYTES: u64 = 8 << 20;

/// The runs of a range of a file of which no page was in the page cache when the load began. Looked
/// at once: a load's own readahead soon reaches into the next run.
#[derive(Debug)]
pub(super) struct Footprint<'a> {
    file: BorrowedFd<'a>,
    offset_bytes: u64,
    absent: Vec<bool>,
}

impl<'a> Footprint<'a> {
    /// Looks at a range. Where the kernel does not tell, every page counts as one of others.
    pub(super) fn of(file: BorrowedFd<'a>, offset_bytes: u64, len_bytes: u64) -> Self {
        let runs = if len_bytes > RUN_BYTES { len_bytes.div_ceil(RUN_BYTES) } else { 0 };
        let is_absent = |run: u64| {
            let start = offset_bytes + run * RUN_BYTES;
            let end = (start + RUN_BYTES).min(offset_bytes + len_bytes);
            cached_pages_in(file, start..end) == Ok(0)
        };
        Self { file, offset_bytes, absent: (0..runs).map(is_absent).collect() }
    }

    /// Drops the pages of a part of the range, counted from its start, if none of its runs had any.
    pub(super) fn drop_part(&self, start: u64, len_bytes: u64) {
        let Some(len) = NonZeroU64::new(len_bytes) else { return };
        let mut runs = start / RUN_BYTES..(start + len_bytes).div_ceil(RUN_BYTES);
        let is_absent = |run| usize::try_from(run).ok().and_then(|run| self.absent.get(run));
        if runs.all(|run| is_absent(run) == Some(&true)) {
            // Advice: what a file system does not drop stays.
            let _ = fadvise(self.file, self.offset_bytes + start, Some(len), Advice::DontNeed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use dmabuf_uapi::page_cache::cached_pages;
    use rustix::fs::fsync;

    use super::*;

    const LEN_BYTES: u64 = 3 * RUN_BYTES;

    /// A file beside the test program, on a file system with storage, of which nothing is cached;
    /// `None` where the kernel or the file system does not let the test see that.
    fn uncached() -> Option<File> {
        let directory = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let file = tempfile::tempfile_in(directory).unwrap();
        file.write_all_at(&vec![7; LEN_BYTES as usize], 0).unwrap();
        fsync(&file).unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        (cached_pages(&file) == Ok(0)).then_some(file)
    }

    fn read(file: &File, start: u64, len_bytes: u64) {
        file.read_exact_at(&mut vec![0; len_bytes as usize], start).unwrap();
    }

    #[test]
    fn pages_that_were_there_stay() {
        let Some(file) = uncached() else { return };
        read(&file, RUN_BYTES, 4096);
        let footprint = Footprint::of(file.as_fd(), 0, LEN_BYTES);
        assert_eq!(footprint.absent, [true, false, true]);
        read(&file, 0, LEN_BYTES);
        for run in 0..3 {
            footprint.drop_part(run * RUN_BYTES, RUN_BYTES);
        }
        let cached = |run: u64| cached_pages_in(&file, run * RUN_BYTES..(run + 1) * RUN_BYTES);
        assert_eq!(cached(0), Ok(0));
        assert_eq!(cached(1), Ok(RUN_BYTES / dmabuf_uapi::page_size_bytes() as u64));
        assert_eq!(cached(2), Ok(0));
    }

    #[test]
    fn a_part_in_two_runs_needs_both() {
        let Some(file) = uncached() else { return };
        read(&file, RUN_BYTES, 4096);
        let footprint = Footprint::of(file.as_fd(), 0, LEN_BYTES);
        read(&file, 0, LEN_BYTES);
        let before = cached_pages(&file);
        footprint.drop_part(RUN_BYTES / 2, RUN_BYTES);
        assert_eq!(cached_pages(&file), before);
    }

    #[test]
    fn a_short_load_leaves_its_pages() {
        let Some(file) = uncached() else { return };
        let footprint = Footprint::of(file.as_fd(), 0, RUN_BYTES);
        read(&file, 0, RUN_BYTES);
        footprint.drop_part(0, RUN_BYTES);
        assert_ne!(cached_pages(&file), Ok(0));
    }
}
