// SPDX-License-Identifier: Apache-2.0
//! Tests of `copy_file_range(2)` between ordinary files, which must behave the same on every
//! kernel.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;

use anyhow::Result;
use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::{memfd, Errno};
use libtest_mimic::Trial;
use rustix::fs::{ioctl_getflags, ioctl_setflags, IFlags};
use rustix::process::Signal;
use vts_support::files::{content, Files, Mode};
use vts_support::outcome::trial;
use vts_support::pattern::{assert_filled, assert_same, bytes};

use crate::helper::{Copy, Direction};

const GIB: u64 = 1 << 30;
const SIZE_BYTES: usize = 100_000;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("ordinary_files", "within_a_file_system", within_a_file_system),
        trial("ordinary_files", "within_tmpfs", within_tmpfs),
        trial("ordinary_files", "within_a_file", within_a_file),
        trial("ordinary_files", "across_file_systems", across_file_systems),
        trial("ordinary_files", "far_offsets", far_offsets),
        trial(
            "ordinary_files",
            "copies_at_or_after_the_end_return_0",
            copies_at_or_after_the_end_return_0,
        ),
        trial("ordinary_files", "other_kinds_of_files", other_kinds_of_files),
        trial("ordinary_files", "access_modes", access_modes),
        trial("ordinary_files", "bad_offsets", bad_offsets),
        trial("ordinary_files", "an_immutable_target", an_immutable_target),
        trial("ordinary_files", "the_size_limit", the_size_limit),
    ]
}

fn within_a_file_system() -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 111, SIZE_BYTES as u64)?;
    for (from, to, len) in [(0, 0, SIZE_BYTES), (4096, 8192, 50_000), (123, 7, 4567)] {
        let path = files.path("out");
        let output = Mode::Buffered.open_output(&path)?;
        assert_eq!(copy_file_range(source.buffered()?, from, &output, to, len), Ok(len));
        let seen = content(&path)?;
        assert_filled(&seen[..to as usize], 0, "before");
        assert_same(&seen[to as usize..], &source.expected(from, len), "copied");
        std::fs::remove_file(path)?;
    }
    let output = Mode::Buffered.open_output(&files.path("out"))?;
    let copied = copy_file_range(source.buffered()?, 1000, &output, 0, i64::MAX as usize);
    assert_eq!(copied, Ok(SIZE_BYTES - 1000), "an overlong count");
    Ok(())
}

fn within_tmpfs() -> Result<()> {
    let input = File::from(memfd::create_sealed(c"in", SIZE_BYTES as u64)?);
    let output = File::from(memfd::create_sealed(c"out", SIZE_BYTES as u64)?);
    let expected = bytes(112, 0, SIZE_BYTES);
    input.write_all_at(&expected, 0)?;
    assert_eq!(copy_file_range(&input, 0, &output, 0, SIZE_BYTES), Ok(SIZE_BYTES));
    let mut seen = vec![0; SIZE_BYTES];
    output.read_exact_at(&mut seen, 0)?;
    assert_same(&seen, &expected, "copied");
    Ok(())
}

fn within_a_file() -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 113, SIZE_BYTES as u64)?;
    let file = Mode::Buffered.open_output(source.path())?;
    assert_eq!(copy_file_range(&file, 0, &file, 100, 200), Err(Errno::INVAL), "overlap");
    assert_eq!(copy_file_range(&file, 0, &file, 50_000, 40_000), Ok(40_000));
    let mut expected = source.expected(0, SIZE_BYTES);
    expected.copy_within(..40_000, 50_000);
    assert_same(&content(source.path())?, &expected, "file");
    Ok(())
}

fn across_file_systems() -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 114, SIZE_BYTES as u64)?;
    let other = memfd::create_sealed(c"other", SIZE_BYTES as u64)?;
    let here = Mode::Buffered.open_output(source.path())?;
    assert_eq!(copy_file_range(&here, 0, &other, 0, SIZE_BYTES), Err(Errno::XDEV));
    assert_eq!(copy_file_range(&other, 0, &here, 0, SIZE_BYTES), Err(Errno::XDEV));
    let proc_file = File::open("/proc/self/status")?;
    assert_eq!(copy_file_range(&proc_file, 0, &here, 0, SIZE_BYTES), Err(Errno::XDEV));
    assert_same(&content(source.path())?, &source.expected(0, SIZE_BYTES), "file");
    Ok(())
}

fn far_offsets() -> Result<()> {
    let files = Files::new()?;
    for offset in [2 * GIB - 100, 4 * GIB - 100, 5 * GIB] {
        let source = files.sparse("in", 115, offset, offset + 10_000)?;
        let output = Mode::Buffered.open_output(&files.path("out"))?;
        let copied = copy_file_range(source.buffered()?, offset, &output, offset, 10_000);
        assert_eq!(copied, Ok(10_000), "at {offset}");
        let mut seen = vec![0; 10_000];
        output.read_exact_at(&mut seen, offset)?;
        assert_same(&seen, &source.expected(offset, 10_000), "copied");
    }
    Ok(())
}

fn copies_at_or_after_the_end_return_0() -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("in", 116, SIZE_BYTES as u64)?.buffered()?;
    let output = Mode::Buffered.open_output(&files.path("out"))?;
    for offset in [SIZE_BYTES as u64, SIZE_BYTES as u64 + 1, 5 * GIB, i64::MAX as u64] {
        assert_eq!(copy_file_range(&file, offset, &output, 0, 4096), Ok(0), "at {offset}");
    }
    assert_eq!(copy_file_range(&file, 0, &output, 0, 0), Ok(0), "a count of 0");
    assert_eq!(output.metadata()?.len(), 0);
    Ok(())
}

fn other_kinds_of_files() -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 117, SIZE_BYTES as u64)?;
    let file = Mode::Buffered.open_output(source.path())?;
    let (reader, writer) = rustix::pipe::pipe()?;
    assert_eq!(copy_file_range(&reader, 0, &file, 0, 4096), Err(Errno::INVAL), "from a pipe");
    assert_eq!(copy_file_range(&file, 0, &writer, 0, 4096), Err(Errno::INVAL), "to a pipe");
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    assert_eq!(copy_file_range(&null, 0, &file, 0, 4096), Err(Errno::INVAL), "from a device");
    assert_eq!(copy_file_range(&file, 0, &null, 0, 4096), Err(Errno::INVAL), "to a device");
    let dir = File::open(files.path(""))?;
    assert_eq!(copy_file_range(&dir, 0, &file, 0, 4096), Err(Errno::ISDIR), "from a directory");
    assert_eq!(copy_file_range(&file, 0, &dir, 0, 4096), Err(Errno::ISDIR), "to a directory");
    Ok(())
}

fn access_modes() -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 118, SIZE_BYTES as u64)?;
    let output = Mode::Buffered.open_output(&files.path("out"))?;
    let write_only = OpenOptions::new().write(true).open(source.path())?;
    assert_eq!(copy_file_range(&write_only, 0, &output, 0, 4096), Err(Errno::BADF));
    let read_only = File::open(files.path("out"))?;
    assert_eq!(copy_file_range(source.buffered()?, 0, &read_only, 0, 4096), Err(Errno::BADF));
    let append = OpenOptions::new().append(true).open(files.path("out"))?;
    assert_eq!(copy_file_range(source.buffered()?, 0, &append, 0, 4096), Err(Errno::BADF));
    Ok(())
}

fn bad_offsets() -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("in", 119, SIZE_BYTES as u64)?.buffered()?;
    let output = Mode::Buffered.open_output(&files.path("out"))?;
    let negative = -4096_i64 as u64;
    assert_eq!(copy_file_range(&file, negative, &output, 0, 100), Err(Errno::INVAL));
    assert_eq!(copy_file_range(&file, 0, &output, negative, 100), Err(Errno::INVAL));
    assert_eq!(copy_file_range(&file, 1, &output, 0, usize::MAX), Err(Errno::OVERFLOW));
    assert_eq!(copy_file_range(&file, 0, &output, 1, usize::MAX), Err(Errno::OVERFLOW));
    let largest = i64::MAX as u64;
    assert_eq!(copy_file_range(&file, 0, &output, largest, 100), Err(Errno::FBIG));
    Ok(())
}

fn an_immutable_target() -> Result<()> {
    let files = Files::new()?;
    let file = files.patterned("in", 120, SIZE_BYTES as u64)?.buffered()?;
    let output = Mode::Buffered.open_output(&files.path("out"))?;
    let flags = ioctl_getflags(&output)?;
    ioctl_setflags(&output, flags | IFlags::IMMUTABLE)?;
    let copied = copy_file_range(&file, 0, &output, 0, 4096);
    ioctl_setflags(&output, flags)?;
    assert_eq!(copied, Err(Errno::PERM));
    Ok(())
}

fn the_size_limit() -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 121, SIZE_BYTES as u64)?;
    let path = files.path("out");
    let output = Mode::Buffered.open_output(&path)?;
    let mut copy = Copy {
        direction: Direction::Save,
        file: &path,
        offset_bytes: 4096,
        len_bytes: SIZE_BYTES,
        file_size_limit_bytes: Some(8192),
    };
    let cut = copy.command(source.buffered()?)?.output()?;
    assert_eq!(String::from_utf8_lossy(&cut.stdout).trim(), "4096");
    assert_eq!(output.metadata()?.len(), 8192);
    copy.offset_bytes = 8192;
    let refused = copy.command(source.buffered()?)?.output()?;
    assert_eq!(refused.status.signal(), Some(Signal::XFSZ.as_raw()));
    assert_eq!(output.metadata()?.len(), 8192);
    Ok(())
}
