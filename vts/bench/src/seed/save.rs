// SPDX-License-Identifier: Apache-2.0
//! Saves by the write table of patch 4/4: 9 methods.
//!
//! All methods write the same file, whose blocks are allocated beforehand. The measurement includes
//! no fsync, because `write(2)` does not include one.

use std::fs::File;

use anyhow::{Context, Result};
use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapped_range::MappedRange;
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::files::{drop_cache, Mode};

use super::load::{in_full, offsets_bytes, read_mapped};
use super::{unless_refused, Call, Method};
use crate::bench::{Bench, Case, Setup};
use crate::buffer::{self, Buffer, Exporter};
use crate::tuning;

const fn row(row: u32, name: &'static str, exporter: Exporter, direct: bool, call: Call) -> Method {
    Method { row, name, exporter, direct, call }
}

/// The table, in its order.
pub const METHODS: [Method; 9] = {
    use Call::{CopyFileRange, ReadWrite};
    use Exporter::{SystemHeap, Udmabuf, UdmabufAndMemfd};
    [
        row(1, "dmabuf buffer R/W", SystemHeap, false, ReadWrite),
        row(2, "udmabuf buffer R/W", Udmabuf, false, ReadWrite),
        row(3, "udma+memfd buffer R/W", UdmabufAndMemfd, false, ReadWrite),
        row(4, "udma+memfd direct R/W", UdmabufAndMemfd, true, ReadWrite),
        row(5, "udmabuf buffer c_f_r", Udmabuf, false, CopyFileRange),
        row(6, "udmabuf direct c_f_r", Udmabuf, true, CopyFileRange),
        row(7, "dmabuf buffer c_f_r", SystemHeap, false, CopyFileRange),
        row(8, "dmabuf direct c_f_r", SystemHeap, true, CopyFileRange),
        row(9, "dmabuf buffer R/W (end)", SystemHeap, false, ReadWrite),
    ]
};

/// The name of the output file.
const OUTPUT: &str = "output";

/// Measures the methods of the table.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !METHODS.iter().any(|method| bench.wants(method.name)) {
        return Ok(());
    }
    let (bytes, buffers) = (bench.setup.total_bytes(), u64::from(bench.setup.buffers));
    // The file has another pattern, so that no byte of it is right before it is written.
    bench.setup.files.patterned(OUTPUT, 2, bytes).context("making the output file")?;
    for (turn, method) in METHODS.into_iter().enumerate() {
        let case = Case::new(Kind::Seed, method.name, Direction::Save, bytes, buffers);
        bench.measure(Case { row: Some(method.row), ..case }, |setup| save(setup, method, turn))?;
    }
    std::fs::remove_file(bench.setup.files.path(OUTPUT)).context("removing the file")
}

fn save(setup: &Setup, method: Method, turn: usize) -> Result<Phases> {
    let (buffers, create) = setup.meter.measure(|| {
        (0..setup.buffers)
            .map(|_| setup.devices.create(method.exporter, setup.buffer_bytes))
            .collect::<Result<Vec<Buffer>>>()
    })?;
    let source = setup.source.open(Mode::Buffered)?;
    for (buffer, offset_bytes) in buffers.iter().zip(offsets_bytes(setup.buffer_bytes)) {
        read_mapped(&source, offset_bytes, buffer.io_fd()?, buffer.size_bytes)?;
    }
    tuning::drop_page_cache()?;
    let mode = if method.direct { Mode::Direct } else { Mode::Buffered };
    let file = mode.open_output(&setup.files.path(OUTPUT))?;
    // Each method writes the parts to other places, so that the output of the method before it does
    // not pass the check.
    let places_bytes: Vec<u64> = (0..buffers.len())
        .map(|index| ((index + turn) % buffers.len()) as u64 * setup.buffer_bytes)
        .collect();
    let (mappings, io) =
        setup.meter.measure(|| save_all(method.call, &buffers, &file, &places_bytes))?;
    let ((), close) = setup.meter.measure(|| {
        drop(mappings);
        drop(buffers);
        Ok(())
    })?;
    file.sync_all().context("fsync")?;
    let written = File::open(setup.files.path(OUTPUT))?;
    drop_cache(&written)?;
    for (place_bytes, offset_bytes) in places_bytes.iter().zip(offsets_bytes(setup.buffer_bytes)) {
        setup.source.verify_copy(&written, *place_bytes, setup.buffer_bytes, offset_bytes)?;
    }
    Ok(Phases { create: Some(create), io: Some(io), close: Some(close) })
}

fn save_all(
    call: Call,
    buffers: &[Buffer],
    file: &File,
    places_bytes: &[u64],
) -> Result<Vec<MappedRange<'static>>> {
    let mut mappings = Vec::new();
    for (buffer, place_bytes) in buffers.iter().zip(places_bytes) {
        let from = buffer.io_fd()?;
        let len_bytes = usize::try_from(buffer.size_bytes)?;
        if call == Call::CopyFileRange {
            in_full(len_bytes, |done| {
                let to = place_bytes + done as u64;
                unless_refused(copy_file_range(from, done as u64, file, to, len_bytes - done))
            })?;
        } else {
            let mapped = buffer::map(from, buffer.size_bytes, CpuAccess::READ)?;
            in_full(len_bytes, |done| {
                let done = done as u64;
                let left = buffer.size_bytes - done;
                Ok(mapped.pwrite(done, left, file, place_bytes + done)? as usize)
            })
            .context("write")?;
            mappings.push(mapped.finish().context("DMA_BUF_SYNC_END")?);
        }
    }
    Ok(mappings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmabuf_uapi::mapping::MappingAccess;

    #[test]
    fn the_table_has_every_row() {
        assert!(METHODS.iter().zip(1..).all(|(method, number)| method.row == number));
        for method in METHODS {
            let how = if method.direct { " direct " } else { " buffer " };
            assert!(method.name.contains(how), "{}", method.name);
            assert!(matches!(method.call, Call::ReadWrite | Call::CopyFileRange));
        }
    }

    #[test]
    fn buffers_are_written_to_their_places() {
        let memfd = dmabuf_uapi::memfd::create_sealed(c"test", 8192).unwrap();
        let filler = MappedRange::new(&memfd, 0..8192, MappingAccess::ReadWrite).unwrap();
        filler.write(0, &[7; 8192]).unwrap();
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = Mode::Buffered.open_output(path.path()).unwrap();
        save_all(Call::ReadWrite, &[Buffer::of_memfd(memfd, 8192)], &file, &[4096]).unwrap();
        let seen = std::fs::read(path.path()).unwrap();
        assert_eq!(seen.len(), 4096 + 8192);
        assert!(seen[..4096].iter().all(|byte| *byte == 0));
        assert!(seen[4096..].iter().all(|byte| *byte == 7));
    }
}
