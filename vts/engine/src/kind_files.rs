// SPDX-License-Identifier: Apache-2.0
//! Makes a file of each kind, and checks that the file is of that kind.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::file_attributes::file_attributes;
use dmabuf_uapi::fs_verity::{measure, Algorithm};
use dmabuf_uapi::Errno;
use rustix::fs::{fallocate, ioctl_getflags, ioctl_setflags, FallocateFlags, IFlags, OFlags};
use vts_support::files::{Files, Mode};
use vts_support::outcome::{or_skip, skip};
use vts_support::pattern;
use vts_uapi::fiemap::{extents, ExtentFlags};
use vts_uapi::fscrypt::{self, KeyIdentifier, MASTER_KEY_BYTES};
use vts_uapi::{f2fs, fs_verity};

/// Not a multiple of a block or a sector.
const SIZE_BYTES: usize = (1 << 20) + 1234;
const INLINE_BYTES: usize = 100;
/// The bytes that F2FS compresses at a time.
const CLUSTER_BYTES: usize = 16 << 10;

/// A file and its content.
pub struct KindFile {
    path: PathBuf,
    pub content: Vec<u8>,
    /// Dropped after the file.
    _key: Option<Key>,
}

impl KindFile {
    /// Makes a file with this content and writes it to the disk; `prepare` gets the file while it
    /// is empty.
    fn new(
        path: PathBuf,
        content: Vec<u8>,
        prepare: impl FnOnce(&File) -> Result<()>,
    ) -> Result<Self> {
        let file = File::create_new(&path)?;
        prepare(&file)?;
        file.write_all_at(&content, 0)?;
        file.sync_all()?;
        Ok(Self { path, content, _key: None })
    }

    /// Opens the file for reading.
    pub fn open(&self, mode: Mode) -> Result<File> {
        let flags = match mode {
            Mode::Buffered => OFlags::empty(),
            Mode::Direct => OFlags::DIRECT,
        };
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits() as i32);
        options.open(&self.path).with_context(|| format!("{:?}, {flags:?}", self.path))
    }

    fn extent_flags(&self) -> Result<Vec<ExtentFlags>> {
        let extents = extents(self.open(Mode::Buffered)?).context("FS_IOC_FIEMAP")?;
        Ok(extents.into_iter().map(|extent| extent.flags).collect())
    }
}

fn patterned(seed: u64) -> Vec<u8> {
    pattern::bytes(seed, 0, SIZE_BYTES)
}

pub fn ordinary(files: &Files) -> Result<KindFile> {
    KindFile::new(files.path("ordinary"), patterned(1), |_| Ok(()))
}

/// Holes at the start, in the middle and at the end.
pub fn with_holes(files: &Files) -> Result<KindFile> {
    let whole = patterned(2);
    let mut content = vec![0; SIZE_BYTES];
    let path = files.path("with_holes");
    let file = File::create_new(&path)?;
    file.set_len(SIZE_BYTES as u64)?;
    for part in [(64 << 10)..(192 << 10), (512 << 10)..(516 << 10) + 1] {
        content[part.clone()].copy_from_slice(&whole[part.clone()]);
        file.write_all_at(&whole[part.clone()], part.start as u64)?;
    }
    file.sync_all()?;
    let made = KindFile { path, content, _key: None };
    let allocated = file_attributes(&file)?.allocated_sectors * 512;
    ensure!(allocated < SIZE_BYTES as u64 / 2, "{allocated} bytes allocated");
    Ok(made)
}

pub fn pinned(files: &Files) -> Result<KindFile> {
    let file = KindFile::new(files.path("pinned"), patterned(3), |file| {
        or_skip(f2fs::pin(file), "F2FS_IOC_SET_PIN_FILE")?;
        // A pinned file can only be overwritten, so its blocks are allocated first.
        fallocate(file, FallocateFlags::empty(), 0, SIZE_BYTES as u64).context("fallocate")
    })?;
    let before = extents(file.open(Mode::Buffered)?)?;
    let writer = OpenOptions::new().write(true).open(&file.path)?;
    writer.write_all_at(&file.content, 0)?;
    writer.sync_all()?;
    ensure!(extents(&writer)? == before, "the blocks of the pinned file have moved");
    Ok(file)
}

pub fn inline(files: &Files) -> Result<KindFile> {
    let content = pattern::bytes(4, 0, INLINE_BYTES);
    let file = KindFile::new(files.path("inline"), content, |_| Ok(()))?;
    let flags = file.extent_flags()?;
    if !flags.iter().any(|flags| flags.contains(ExtentFlags::INLINE)) {
        return Err(skip("the file system gives a small file a block of its own"));
    }
    Ok(file)
}

pub fn compressed(files: &Files) -> Result<KindFile> {
    let mut content = vec![0; SIZE_BYTES];
    for (index, sector) in content.chunks_mut(512).enumerate() {
        let len = sector.len().min(64);
        sector[..len].copy_from_slice(&pattern::bytes(5, index as u64 * 512, len));
    }
    let file = KindFile::new(files.path("compressed"), content, |file| {
        let flags = or_skip(ioctl_getflags(file), "FS_IOC_GETFLAGS")?;
        or_skip(ioctl_setflags(file, flags | IFlags::COMPRESSED), "FS_IOC_SETFLAGS: FS_COMPR_FL")
    })?;
    let encoded =
        file.extent_flags()?.iter().filter(|flags| flags.contains(ExtentFlags::ENCODED)).count();
    ensure!(encoded >= SIZE_BYTES / CLUSTER_BYTES, "{encoded} clusters are compressed");
    Ok(file)
}

pub fn verity(files: &Files) -> Result<KindFile> {
    let file = KindFile::new(files.path("verity"), patterned(6), |_| Ok(()))?;
    let reader = file.open(Mode::Buffered)?;
    or_skip(fs_verity::enable(&reader), "FS_IOC_ENABLE_VERITY")?;
    let digest = measure(&reader).context("FS_IOC_MEASURE_VERITY")?;
    ensure!(digest.algorithm() == Algorithm::Sha256, "{digest}");
    let write = OpenOptions::new().write(true).open(&file.path);
    ensure!(write.is_err(), "the file can still be opened for writing");
    Ok(file)
}

pub fn encrypted(files: &Files) -> Result<KindFile> {
    let dir = files.path("encrypted");
    std::fs::create_dir(&dir)?;
    let directory = File::open(&dir)?;
    let key = Key::add(File::open(files.path(""))?)?;
    or_skip(fscrypt::set_policy(&directory, key.identifier), "FS_IOC_SET_ENCRYPTION_POLICY")?;
    let path = dir.join("f");
    // A kernel with modules asks for a module of each algorithm, each time.
    println!("EXPECT-AVC: kmod=\"crypto");
    if let Err(error) = File::create_new(&path) {
        let lacks_algorithm = error.raw_os_error() == Some(Errno::NOPKG.raw_os_error());
        return match lacks_algorithm {
            true => Err(skip("the kernel lacks AES-256 in XTS or CTS mode")),
            false => Err(error).context("creating an encrypted file"),
        };
    }
    std::fs::remove_file(&path)?;
    let file = KindFile::new(path, patterned(7), |_| Ok(()))?;
    let attributes = file_attributes(file.open(Mode::Buffered)?)?;
    ensure!(attributes.encrypted, "{attributes:?}");
    Ok(KindFile { _key: Some(key), ..file })
}

/// A master key that is removed when the test ends.
struct Key {
    on: File,
    identifier: KeyIdentifier,
}

impl Key {
    fn add(on: File) -> Result<Self> {
        let identifier =
            or_skip(fscrypt::add_key(&on, &[0x5a; MASTER_KEY_BYTES]), "FS_IOC_ADD_ENCRYPTION_KEY")?;
        Ok(Self { on, identifier })
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if let Err(errno) = fscrypt::remove_key(&self.on, self.identifier) {
            eprintln!("FS_IOC_REMOVE_ENCRYPTION_KEY: {errno}");
        }
    }
}
