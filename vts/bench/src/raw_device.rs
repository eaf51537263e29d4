// SPDX-License-Identifier: Apache-2.0
//! Measures the limit: the block device below the file, read with `O_DIRECT` into populated and
//! mapped memory of this process.
//!
//! The benchmark reads the blocks of the file, found by its extents, so that the content is known
//! and the device does the same reads as for every other method; neither the file system nor a
//! dma-buf takes part. Each request has its own memory, as with every other method, so that CPU
//! caches favour none.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;

use anyhow::{bail, ensure, Context, Result};
use dmabuf_uapi::mapping::Mapping;
use rustix::fs::{fstat, major, minor, OFlags};
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::files::Mode;
use vts_uapi::fiemap::{extents, Extent, ExtentFlags};

use crate::bench::{Bench, Case, Setup};
use crate::buffer::PopulatedMemory;
use crate::tuning::Pages;

/// Bytes per `pread(2)`.
const REQUEST_BYTES: [u64; 3] = [1 << 20, 8 << 20, 32 << 20];
/// Requests in flight, a thread each.
const DEPTHS: [u32; 3] = [1, 2, 4];

/// Flags of extents whose bytes are stored unchanged on the device.
const HARMLESS: ExtentFlags = ExtentFlags::LAST.union(ExtentFlags::MERGED);

/// Measures every combination, with huge and with ordinary pages.
pub fn run(bench: &mut Bench) -> Result<()> {
    for (name, pages) in
        [("block device, 4 KiB pages", Pages::Small), ("block device, hugetlb", Pages::Hugetlb)]
    {
        for request_bytes in REQUEST_BYTES {
            for depth in DEPTHS {
                let (bytes, buffers) = (bench.setup.total_bytes(), u64::from(bench.setup.buffers));
                let case = Case::new(Kind::Raw, name, Direction::Load, bytes, buffers)
                    .with("request_bytes", request_bytes)
                    .with("depth", u64::from(depth));
                bench.measure(case, |setup| read(setup, pages, request_bytes, depth))?;
            }
        }
    }
    Ok(())
}

/// A part of the file on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    file_offset_bytes: u64,
    device_offset_bytes: u64,
    len_bytes: u64,
}

fn read(setup: &Setup, pages: Pages, request_bytes: u64, depth: u32) -> Result<Phases> {
    let file = setup.source.open(Mode::Buffered)?;
    let pieces =
        pieces(&extents(&file).context("FS_IOC_FIEMAP")?, setup.total_bytes(), request_bytes)?;
    let device = open_device(&file)?;
    let _pages = pages.set_up(setup.total_bytes())?;
    let memory = PopulatedMemory::new(pages, setup.total_bytes())?;

    let ((), io) = setup.meter.measure(|| {
        if depth == 1 {
            return read_pieces(&device, &memory.mapping, pieces.iter());
        }
        let depth = usize::try_from(depth)?;
        thread::scope(|scope| {
            let readers: Vec<_> = (0..depth)
                .map(|first| {
                    let own = pieces.iter().skip(first).step_by(depth);
                    let (device, mapping) = (&device, &memory.mapping);
                    scope.spawn(move || read_pieces(device, mapping, own))
                })
                .collect();
            readers.into_iter().try_for_each(|reader| {
                reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?
            })
        })
    })?;
    setup.source.verify_mapping(&memory.mapping, setup.total_bytes(), 0)?;
    Ok(Phases { create: None, io: Some(io), close: None })
}

/// Reads pieces one after another, each to its place in memory, which follows the order of the
/// file.
fn read_pieces<'a>(
    device: &File,
    memory: &Mapping,
    pieces: impl Iterator<Item = &'a Piece>,
) -> Result<()> {
    for piece in pieces {
        let place = usize::try_from(piece.file_offset_bytes)?;
        let len = usize::try_from(piece.len_bytes)?;
        let read = memory.pread(place..place + len, device, piece.device_offset_bytes)?;
        ensure!(read == len, "the device returned {read} of {len} bytes");
    }
    Ok(())
}

/// Divides the first `len_bytes` of a file into requests that do not cross extents.
fn pieces(extents: &[Extent], len_bytes: u64, request_bytes: u64) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut covered_bytes = 0;
    for extent in extents {
        ensure!(
            (extent.flags - HARMLESS).is_empty(),
            "the file has an extent that is not stored unchanged on the device: {extent:?}"
        );
        ensure!(
            extent.file_offset_bytes == covered_bytes,
            "the file has a hole at {covered_bytes}"
        );
        let extent_bytes = extent.len_bytes.min(len_bytes - covered_bytes);
        let mut done = 0;
        while done < extent_bytes {
            let piece_bytes = request_bytes.min(extent_bytes - done);
            pieces.push(Piece {
                file_offset_bytes: covered_bytes + done,
                device_offset_bytes: extent.device_offset_bytes + done,
                len_bytes: piece_bytes,
            });
            done += piece_bytes;
        }
        covered_bytes += extent_bytes;
        if covered_bytes == len_bytes {
            return Ok(pieces);
        }
    }
    bail!("the extents cover {covered_bytes} of {len_bytes} bytes")
}

/// Opens the block device of a file's file system.
fn open_device(file: &File) -> Result<File> {
    let number = fstat(file)?.st_dev;
    let uevent = format!("/sys/dev/block/{}:{}/uevent", major(number), minor(number));
    let text = std::fs::read_to_string(&uevent).with_context(|| uevent.clone())?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    let name = name.with_context(|| format!("{uevent} has no DEVNAME"))?;
    let node = ["/dev/block", "/dev"]
        .map(|dir| PathBuf::from(dir).join(name))
        .into_iter()
        .find(|node| node.exists())
        .with_context(|| format!("no device node of {name}"))?;
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(&node)
        .with_context(|| format!("O_DIRECT on {}", node.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(file_offset_bytes: u64, device_offset_bytes: u64, len_bytes: u64) -> Extent {
        let flags = ExtentFlags::empty();
        Extent { file_offset_bytes, device_offset_bytes, len_bytes, flags }
    }

    #[test]
    fn pieces_cover_the_file_and_stay_in_extents() {
        let extents = [extent(0, 1000, 50), extent(50, 5000, 100)];
        let pieces = pieces(&extents, 120, 40).unwrap();
        let seen: Vec<(u64, u64, u64)> = pieces
            .iter()
            .map(|piece| (piece.file_offset_bytes, piece.device_offset_bytes, piece.len_bytes))
            .collect();
        assert_eq!(seen, [(0, 1000, 40), (40, 1040, 10), (50, 5000, 40), (90, 5040, 30)]);
    }

    #[test]
    fn ranges_that_are_not_on_the_device_are_refused() {
        assert!(pieces(&[extent(0, 1000, 50)], 60, 40).is_err(), "too short");
        assert!(pieces(&[extent(10, 1000, 90)], 60, 40).is_err(), "a hole");
        let inline = Extent { flags: ExtentFlags::INLINE, ..extent(0, 0, 60) };
        assert!(pieces(&[inline], 60, 40).is_err());
    }
}
