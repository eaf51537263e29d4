// SPDX-License-Identifier: Apache-2.0
//! The file that is loaded, and the comparison of loaded bytes with it.

use std::fs::File;
use std::os::fd::BorrowedFd;

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapping::Mapping;
use vts_support::files::{Files, Mode, TestFile};

use crate::buffer;

const PAGE_BYTES: u64 = 4096;
const WORD_BYTES: usize = 8;
/// The offsets in each page at which a word is compared: every page must be loaded, from its first
/// byte to its last.
const WORD_OFFSETS: [u64; 3] = [0, PAGE_BYTES / 2, PAGE_BYTES - WORD_BYTES as u64];
/// Differs from 0, so that no word of the file is zero as the words of a new buffer are.
const PATTERN: u64 = 1;
/// Bytes of a file that are compared at a time.
const CHECK_BYTES: u64 = 1 << 20;

/// A file in which every word depends on its position.
pub struct Source {
    file: TestFile,
    /// The size of the file.
    pub size_bytes: u64,
}

impl Source {
    /// Makes the file and writes its content.
    pub fn create(files: &Files, name: &str, size_bytes: u64) -> Result<Self> {
        let file = files.patterned(name, PATTERN, size_bytes).context("writing the file")?;
        Ok(Self { file, size_bytes })
    }

    /// Opens the file for reading.
    pub fn open(&self, mode: Mode) -> Result<File> {
        self.file.open(mode)
    }

    /// Fails unless a buffer, a dma-buf or a memfd, holds the content of the file from
    /// `file_offset_bytes`.
    pub fn verify(
        &self,
        buffer: BorrowedFd<'_>,
        buffer_bytes: u64,
        file_offset_bytes: u64,
    ) -> Result<()> {
        let mapped = buffer::map(buffer, buffer_bytes, CpuAccess::READ)?;
        self.verify_words(buffer_bytes, file_offset_bytes, |offset_bytes, word| {
            Ok(mapped.read(offset_bytes, word)?)
        })?;
        mapped.finish().context("DMA_BUF_SYNC_END")?;
        Ok(())
    }

    /// As [`Source::verify`], for mapped memory.
    pub fn verify_mapping(
        &self,
        memory: &Mapping,
        len_bytes: u64,
        file_offset_bytes: u64,
    ) -> Result<()> {
        self.verify_words(len_bytes, file_offset_bytes, |offset_bytes, word| {
            Ok(memory.read(usize::try_from(offset_bytes)?, word)?)
        })
    }

    /// Fails unless a range of another file holds the content of this one from `file_offset_bytes`.
    pub fn verify_copy(
        &self,
        copy: &File,
        copy_offset_bytes: u64,
        len_bytes: u64,
        file_offset_bytes: u64,
    ) -> Result<()> {
        let buffer = Mapping::anonymous(usize::try_from(CHECK_BYTES)?)?;
        let mut done = 0;
        while done < len_bytes {
            let len = CHECK_BYTES.min(len_bytes - done);
            let range = 0..usize::try_from(len)?;
            let read = buffer.pread(range, copy, copy_offset_bytes + done)?;
            ensure!(read as u64 == len, "the file ends {} bytes early", len - read as u64);
            self.verify_mapping(&buffer, len, file_offset_bytes + done)?;
            done += len;
        }
        Ok(())
    }

    fn verify_words(
        &self,
        len_bytes: u64,
        file_offset_bytes: u64,
        read: impl Fn(u64, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        for page in (0..len_bytes).step_by(usize::try_from(PAGE_BYTES)?) {
            for offset in WORD_OFFSETS.map(|offset| page + offset) {
                let mut word = [0; WORD_BYTES];
                read(offset, &mut word)?;
                let expected = self.file.expected(file_offset_bytes + offset, WORD_BYTES);
                ensure!(
                    word == expected.as_slice(),
                    "byte {offset} and after has {word:02x?}, the file has {expected:02x?} at byte {}",
                    file_offset_bytes + offset
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmabuf_uapi::mapping::MappingAccess;
    use dmabuf_uapi::memfd::create_sealed;
    use std::os::fd::AsFd;

    const SIZE_BYTES: u64 = 4 * PAGE_BYTES;

    fn source() -> (Files, Source) {
        let files = Files::new_in(&std::env::temp_dir()).unwrap();
        let source = Source::create(&files, "f", SIZE_BYTES).unwrap();
        (files, source)
    }

    #[test]
    fn a_copy_is_accepted_and_a_changed_word_is_not() {
        let (_files, source) = source();
        let memfd = create_sealed(c"test", SIZE_BYTES).unwrap();
        let mapping =
            Mapping::shared(&memfd, SIZE_BYTES as usize, MappingAccess::ReadWrite).unwrap();
        assert!(source.verify(memfd.as_fd(), SIZE_BYTES, 0).is_err(), "all zero");
        let file = source.open(Mode::Buffered).unwrap();
        mapping.pread(0..SIZE_BYTES as usize, &file, 0).unwrap();
        source.verify(memfd.as_fd(), SIZE_BYTES, 0).unwrap();
        assert!(source.verify(memfd.as_fd(), SIZE_BYTES / 2, PAGE_BYTES).is_err(), "shifted");
        mapping.write(3 * PAGE_BYTES as usize - 1, &[0]).unwrap();
        let error = source.verify(memfd.as_fd(), SIZE_BYTES, 0).unwrap_err().to_string();
        assert!(error.starts_with("byte 12280 and after has"), "{error}");
    }

    #[test]
    fn a_copied_file_is_compared_at_its_own_offset() {
        let (_files, source) = source();
        let file = source.open(Mode::Buffered).unwrap();
        source.verify_copy(&file, PAGE_BYTES, PAGE_BYTES, PAGE_BYTES).unwrap();
        assert!(source.verify_copy(&file, PAGE_BYTES, PAGE_BYTES, 0).is_err());
        assert!(source.verify_copy(&file, SIZE_BYTES, PAGE_BYTES, 0).is_err());
    }
}
