// SPDX-License-Identifier: Apache-2.0
//! The files of a test, in a directory of their own that is removed when the test ends.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{fadvise, Advice, OFlags};
use tempfile::TempDir;

use crate::pattern;

const WORK_DIR_VARIABLE: &str = "DMABUF_TEST_DIR";
const DEFAULT_WORK_DIR: &str = "/data/vendor/dmabuf_loader";
const CHUNK_BYTES: usize = 1 << 20;

/// A directory for the files of one test.
pub struct Files {
    dir: TempDir,
}

impl Files {
    /// Makes the directory in `$DMABUF_TEST_DIR`; without that variable in
    /// `/data/vendor/dmabuf_loader` where the service's .rc has made that, else beside the running
    /// program.
    pub fn new() -> Result<Self> {
        Self::new_in(&work_dir()?).with_context(|| format!("set {WORK_DIR_VARIABLE}"))
    }

    /// Makes the directory in `parent`.
    pub fn new_in(parent: &Path) -> Result<Self> {
        let dir = TempDir::with_prefix_in("dmabuf.", parent)
            .with_context(|| format!("cannot make a work directory in {parent:?}"))?;
        Ok(Self { dir })
    }

    /// Returns the path of a name in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a file with patterned content, written to the disk and dropped from the page cache.
    pub fn patterned(&self, name: &str, seed: u64, size_bytes: u64) -> Result<TestFile> {
        self.sparse(name, seed, 0, size_bytes)
    }

    /// Makes a file with a hole up to `data_offset_bytes` and patterned content after it.
    pub fn sparse(
        &self,
        name: &str,
        seed: u64,
        data_offset_bytes: u64,
        size_bytes: u64,
    ) -> Result<TestFile> {
        let test_file = TestFile { path: self.path(name), seed };
        let file = File::create(&test_file.path)?;
        file.set_len(size_bytes)?;
        let mut position = data_offset_bytes;
        while position < size_bytes {
            let len = CHUNK_BYTES.min((size_bytes - position) as usize);
            file.write_all_at(&pattern::bytes(seed, position, len), position)?;
            position += len as u64;
        }
        file.sync_all()?;
        drop_cache(&file)?;
        Ok(test_file)
    }

    /// Makes a file that is one hole.
    pub fn hole(&self, name: &str, size_bytes: u64) -> Result<TestFile> {
        self.sparse(name, 0, size_bytes, size_bytes)
    }
}

fn work_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(WORK_DIR_VARIABLE) {
        return Ok(dir.into());
    }
    if Path::new(DEFAULT_WORK_DIR).is_dir() {
        return Ok(DEFAULT_WORK_DIR.into());
    }
    let program = std::env::current_exe().context("the path of the running program")?;
    Ok(program.parent().context("the directory of the running program")?.to_owned())
}

/// A file whose content follows the pattern, except in its holes.
pub struct TestFile {
    path: PathBuf,
    seed: u64,
}

impl TestFile {
    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for reading through the page cache.
    pub fn buffered(&self) -> Result<File> {
        self.open(Mode::Buffered)
    }

    /// Opens the file for reading with `O_DIRECT`.
    pub fn direct(&self) -> Result<File> {
        self.open(Mode::Direct)
    }

    /// Opens the file for reading in the given mode.
    pub fn open(&self, mode: Mode) -> Result<File> {
        mode.open(&self.path)
    }

    /// Returns the expected content of a range.
    pub fn expected(&self, offset_bytes: u64, len_bytes: usize) -> Vec<u8> {
        pattern::bytes(self.seed, offset_bytes, len_bytes)
    }
}

/// The mode in which an ordinary file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Through the page cache.
    Buffered,
    /// `O_DIRECT`.
    Direct,
}

impl Mode {
    /// Both modes.
    pub const ALL: [Self; 2] = [Self::Buffered, Self::Direct];

    /// Opens a file for reading.
    pub fn open(self, path: &Path) -> Result<File> {
        match self {
            Self::Buffered => Ok(File::open(path)?),
            Self::Direct => open_direct(OpenOptions::new().read(true), path),
        }
    }

    /// Makes a file for saving, or opens an existing one without truncating it.
    pub fn open_output(self, path: &Path) -> Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        match self {
            Self::Buffered => Ok(options.open(path)?),
            Self::Direct => open_direct(&mut options, path),
        }
    }
}

fn open_direct(options: &mut OpenOptions, path: &Path) -> Result<File> {
    options
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path)
        .with_context(|| format!("O_DIRECT on {path:?}"))
}

/// Drops the clean pages of a file from the page cache.
pub fn drop_cache(file: &File) -> Result<()> {
    fadvise(file, 0, None, Advice::DontNeed).context("fadvise")
}

/// Reads the whole content, without `O_DIRECT`.
pub fn content(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {path:?}"))
}
