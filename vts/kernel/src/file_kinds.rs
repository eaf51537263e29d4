// SPDX-License-Identifier: Apache-2.0
//! Tests that the other file must be a regular file, open in the right mode.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use anyhow::Result;
use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::Errno;
use libtest_mimic::Trial;
use rustix::fs::OFlags;
use vts_support::files::Files;
use vts_support::outcome::skip;
use vts_support::pattern::{assert_filled, UNTOUCHED};

use crate::buffer::{Buffer, Exporter};
use crate::outcome::exporter_trials;

const PAGE_BYTES: usize = 4096;

pub fn trials() -> Vec<Trial> {
    exporter_trials(
        "file_kinds",
        &[
            ("pipe", pipe),
            ("socket", socket),
            ("terminal", terminal),
            ("character_device", character_device),
            ("block_device", block_device),
            ("directory", directory),
            ("event_file", event_file),
            ("another_dma_buf", another_dma_buf),
            ("path_only", path_only),
            ("wrong_access_mode", wrong_access_mode),
            ("append_only", append_only),
            ("hugetlbfs_takes_no_writes", hugetlbfs_takes_no_writes),
        ],
    )
}

/// Expects that both directions fail with `errno` and change nothing.
fn refused(exporter: Exporter, other: impl AsFd, errno: Errno, what: &str) -> Result<()> {
    let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
    let loaded = copy_file_range(&other, 0, &buffer, 0, PAGE_BYTES);
    assert_eq!(loaded, Err(errno), "load from a {what}");
    let saved = copy_file_range(&buffer, 0, &other, 0, PAGE_BYTES);
    assert_eq!(saved, Err(errno), "save to a {what}");
    assert_filled(&buffer.bytes(0, PAGE_BYTES)?, UNTOUCHED, "buffer");
    Ok(())
}

fn pipe(exporter: Exporter) -> Result<()> {
    let (reader, writer) = rustix::pipe::pipe()?;
    rustix::io::write(&writer, &[1; 100])?;
    refused(exporter, reader, Errno::INVAL, "pipe's reading end")?;
    refused(exporter, writer, Errno::INVAL, "pipe's writing end")
}

fn socket(exporter: Exporter) -> Result<()> {
    let (one, _other) = UnixStream::pair()?;
    refused(exporter, one, Errno::INVAL, "socket")
}

fn terminal(exporter: Exporter) -> Result<()> {
    let terminal: OwnedFd = match rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR) {
        Ok(terminal) => terminal,
        Err(_) => OpenOptions::new().read(true).write(true).open("/dev/console")?.into(),
    };
    refused(exporter, terminal, Errno::INVAL, "terminal")
}

fn character_device(exporter: Exporter) -> Result<()> {
    for node in ["/dev/zero", "/dev/null"] {
        let device = OpenOptions::new().read(true).write(true).open(node)?;
        refused(exporter, device, Errno::INVAL, node)?;
    }
    Ok(())
}

fn block_device(exporter: Exporter) -> Result<()> {
    let names = std::fs::read_dir("/sys/class/block")?.flatten().map(|entry| entry.file_name());
    let device = names
        .flat_map(|name| {
            ["/dev/block", "/dev"].map(|dir| std::path::Path::new(dir).join(name.clone()))
        })
        .find_map(|path| File::open(path).ok())
        .ok_or_else(|| skip("no block device that can be opened"))?;
    refused(exporter, device, Errno::INVAL, "block device")
}

fn directory(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    refused(exporter, File::open(files.path(""))?, Errno::ISDIR, "directory")
}

fn event_file(exporter: Exporter) -> Result<()> {
    let event = rustix::event::eventfd(1, rustix::event::EventfdFlags::CLOEXEC)?;
    refused(exporter, event, Errno::INVAL, "eventfd")
}

fn another_dma_buf(exporter: Exporter) -> Result<()> {
    for other in Exporter::ALL {
        let other = Buffer::filled(other, PAGE_BYTES, 1)?;
        refused(exporter, &other, Errno::INVAL, "dma-buf")?;
        assert_filled(&other.bytes(0, PAGE_BYTES)?, 1, "the other dma-buf");
    }
    let buffer = Buffer::new(exporter, 4 * PAGE_BYTES)?;
    let within = copy_file_range(&buffer, 0, &buffer, 2 * 4096, PAGE_BYTES);
    assert_eq!(within, Err(Errno::INVAL), "within one dma-buf");
    Ok(())
}

fn path_only(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 71, 4096)?;
    let path_only = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::PATH.bits() as i32)
        .open(source.path())?;
    refused(exporter, path_only, Errno::BADF, "O_PATH file")
}

fn wrong_access_mode(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 72, 4096)?;
    let buffer = Buffer::new(exporter, PAGE_BYTES)?;
    let write_only = OpenOptions::new().write(true).open(source.path())?;
    assert_eq!(buffer.load(&write_only, 0, 0, PAGE_BYTES), Err(Errno::BADF), "not for reading");
    let read_only = File::open(source.path())?;
    assert_eq!(buffer.save(0, &read_only, 0, PAGE_BYTES), Err(Errno::BADF), "not for writing");
    Ok(())
}

fn append_only(exporter: Exporter) -> Result<()> {
    let files = Files::new()?;
    let source = files.patterned("in", 73, 4096)?;
    let buffer = Buffer::new(exporter, PAGE_BYTES)?;
    let append = OpenOptions::new().read(true).append(true).open(source.path())?;
    assert_eq!(buffer.save(0, &append, 0, PAGE_BYTES), Err(Errno::BADF), "save with O_APPEND");
    assert_eq!(buffer.load(&append, 0, 0, PAGE_BYTES), Ok(PAGE_BYTES), "load with O_APPEND");
    Ok(())
}

fn hugetlbfs_takes_no_writes(exporter: Exporter) -> Result<()> {
    let pool = crate::udmabuf_layouts::HugePages::reserve(1)?;
    let memfd = File::from(pool.memfd(1)?);
    let buffer = Buffer::filled(exporter, PAGE_BYTES, UNTOUCHED)?;
    assert_eq!(buffer.save(0, &memfd, 0, PAGE_BYTES), Err(Errno::INVAL), "save");
    assert_eq!(buffer.load(&memfd, 0, 0, PAGE_BYTES), Ok(PAGE_BYTES), "load");
    assert_filled(&buffer.bytes(0, PAGE_BYTES)?, 0, "loaded");
    Ok(())
}
