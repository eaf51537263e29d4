// SPDX-License-Identifier: Apache-2.0
//! Whether reads with `O_DIRECT` are direct where `statx(2)` does not tell: found out by trying,
//! once for each file system.
//!
//! Two kinds of file systems need it. EROFS reports `STATX_DIOALIGN` from Linux 6.11 on only. F2FS
//! reports what holds for writes: on zoned storage these go through the page cache, and reads do
//! not.
//!
//! That `open(2)` takes `O_DIRECT`, or that a read succeeds, shows nothing: some file systems then
//! read through the page cache. A direct read shows in the account of the thread: it reads from
//! storage each time, where a second read through the page cache does not.

use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use dmabuf_uapi::mapping::Mapping;
use dmabuf_uapi::Errno;

use super::storage_reads::storage_read_bytes;
use crate::error::errno_text;
use crate::io_path::Detail;

/// File systems whose answers are kept, at most; an older one is then tried again.
const MAX_KEPT: usize = 64;

/// What decides on every file of it alike: a file system, by device number, and whether the file is
/// encrypted.
pub(super) type FileSystemKey = ((u32, u32), bool);

/// What a trial has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Reads with `O_DIRECT` are direct.
    Direct,
    /// They go through the page cache.
    Buffered(Detail),
}

/// What trials have shown.
#[derive(Debug, Default)]
pub(super) struct DirectReads(Mutex<Vec<(FileSystemKey, Shown)>>);

impl DirectReads {
    pub(super) fn recall(&self, key: FileSystemKey) -> Option<Shown> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(other, _)| *other == key).map(|(_, shown)| shown.clone())
    }

    pub(super) fn keep(&self, key: FileSystemKey, shown: Shown) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, _)| *other != key);
        if kept.len() == MAX_KEPT {
            kept.remove(0);
        }
        kept.push((key, shown));
    }
}

/// Reads the first block of a file twice, by an fd with `O_DIRECT`. A file of less than a block,
/// which a file system may keep elsewhere, shows nothing of others.
///
/// # Errors
/// Why it shows nothing of the file system.
pub(super) fn try_reading(
    direct: impl AsFd,
    block_bytes: u32,
    is_sparse: bool,
) -> Result<Shown, String> {
    let direct = direct.as_fd();
    let memory = Mapping::anonymous(block_bytes as usize).map_err(errno_text)?;
    let mut from_storage = [0; 2];
    for bytes in &mut from_storage {
        let before = storage_read_bytes();
        match memory.pread(0..block_bytes as usize, direct, 0) {
            Ok(read) if read == block_bytes as usize => {}
            Ok(_) => return Err("the file has less than a block".to_owned()),
            Err(Errno::INVAL) => {
                return Err(format!("it takes no reads of {block_bytes} bytes with O_DIRECT"))
            }
            Err(errno) => return Err(errno_text(errno)),
        }
        let Some((before, after)) = before.zip(storage_read_bytes()) else {
            let why = "the kernel does not count what a thread reads from storage";
            return Ok(Shown::Buffered(why.into()));
        };
        *bytes = after.saturating_sub(before);
    }
    shown_by(from_storage, is_sparse)
}

/// What two reads of one block show by what each has read from storage.
fn shown_by(from_storage_bytes: [u64; 2], is_sparse: bool) -> Result<Shown, String> {
    match from_storage_bytes {
        [_, second] if second > 0 => Ok(Shown::Direct),
        // A hole is read from nowhere.
        [0, 0] if is_sparse => Err("its first block may be a hole".to_owned()),
        _ => Ok(Shown::Buffered("reads with O_DIRECT go through the page cache".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_second_read_from_storage_shows_that_reads_are_direct() {
        let is_buffered = |shown| matches!(shown, Ok(Shown::Buffered(_)));
        assert_eq!(shown_by([4096, 4096], false), Ok(Shown::Direct));
        assert_eq!(shown_by([4096, 4096], true), Ok(Shown::Direct));
        // Somebody else has read the block before, through the page cache.
        assert_eq!(shown_by([0, 4096], false), Ok(Shown::Direct));
        assert!(is_buffered(shown_by([4096, 0], false)));
        assert!(is_buffered(shown_by([4096, 0], true)));
        assert!(is_buffered(shown_by([0, 0], false)));
        assert!(shown_by([0, 0], true).is_err());
    }

    #[test]
    fn answers_are_kept_and_bounded() {
        let reads = DirectReads::default();
        let key = |minor| ((7, minor), false);
        for minor in 0..=MAX_KEPT as u32 {
            assert_eq!(reads.recall(key(minor)), None);
            reads.keep(key(minor), Shown::Direct);
        }
        assert_eq!(reads.recall(key(0)), None);
        assert_eq!(reads.recall(key(1)), Some(Shown::Direct));
        assert_eq!(reads.recall(((7, 1), true)), None);
        reads.keep(key(1), Shown::Buffered("x".into()));
        assert_eq!(reads.recall(key(1)), Some(Shown::Buffered("x".into())));
    }

    #[test]
    fn a_file_on_storage_is_read_directly_where_the_kernel_says_so() {
        let program = std::env::current_exe().unwrap();
        let file = tempfile::NamedTempFile::new_in(program.parent().unwrap()).unwrap();
        std::fs::write(&file, [7; 8192]).unwrap();
        file.as_file().sync_all().unwrap();
        let attributes = dmabuf_uapi::file_attributes::file_attributes(&file).unwrap();
        let reports_direct_io = attributes.direct_io_align.is_some_and(|a| a.memory_bytes > 0);
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT;
        let direct = rustix::fs::open(file.path(), flags, rustix::fs::Mode::empty());
        let (Ok(direct), true) = (direct, reports_direct_io) else { return };
        assert_eq!(try_reading(&direct, 4096, false), Ok(Shown::Direct));
        // Whether somebody has read it before does not matter.
        std::fs::read(&file).unwrap();
        assert_eq!(try_reading(&direct, 4096, false), Ok(Shown::Direct));
    }

    #[test]
    fn a_memfd_is_read_through_the_page_cache() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"f", 8192).unwrap();
        rustix::io::pwrite(&memfd, &[7; 8192], 0).unwrap();
        let shown = try_reading(&memfd, 4096, false);
        assert!(matches!(shown, Ok(Shown::Buffered(_))), "{shown:?}");
        let empty = dmabuf_uapi::memfd::create_sealed(c"f", 0).unwrap();
        assert!(try_reading(&empty, 4096, false).is_err());
    }
}
