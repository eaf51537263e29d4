// SPDX-License-Identifier: Apache-2.0
//! Loads by the read table of the v4 cover letter: 23 methods.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapped_range::MappedRange;
use rustix::fs::sendfile;
use rustix::pipe::{fcntl_setpipe_size, pipe_with, splice, PipeFlags, SpliceFlags};
use vts_bench_record::{Direction, Kind, Phases};
use vts_support::files::Mode;

use super::{unless_refused, Call, Method};
use crate::bench::{Bench, Case, Setup};
use crate::buffer::{self, Buffer, Exporter};

/// The largest pipe of an unprivileged process, `/proc/sys/fs/pipe-max-size`.
const PIPE_BYTES: usize = 1 << 20;

const fn row(row: u32, name: &'static str, exporter: Exporter, direct: bool, call: Call) -> Method {
    Method { row, name, exporter, direct, call }
}

/// The table, in its order.
pub const METHODS: [Method; 23] = {
    use Call::{CopyFileRange, ReadWrite, SendFile, Splice};
    use Exporter::{Memfd, SystemHeap, Udmabuf, UdmabufAndMemfd};
    [
        row(1, "dmabuf buffer R/W", SystemHeap, false, ReadWrite),
        row(2, "udmabuf buffer R/W", Udmabuf, false, ReadWrite),
        row(3, "memfd buffer R/W", Memfd, false, ReadWrite),
        row(4, "memfd direct R/W", Memfd, true, ReadWrite),
        row(5, "memfd buffer sendfile", Memfd, false, SendFile),
        row(6, "memfd direct sendfile", Memfd, true, SendFile),
        row(7, "memfd buffer splice", Memfd, false, Splice),
        row(8, "memfd direct splice", Memfd, true, Splice),
        row(9, "memfd buffer c_f_r", Memfd, false, CopyFileRange),
        row(10, "memfd direct c_f_r", Memfd, true, CopyFileRange),
        row(11, "u+mfd buffer R/W", UdmabufAndMemfd, false, ReadWrite),
        row(12, "u+mfd direct R/W", UdmabufAndMemfd, true, ReadWrite),
        row(13, "u+mfd buffer sendfile", UdmabufAndMemfd, false, SendFile),
        row(14, "u+mfd direct sendfile", UdmabufAndMemfd, true, SendFile),
        row(15, "u+mfd buffer splice", UdmabufAndMemfd, false, Splice),
        row(16, "u+mfd direct splice", UdmabufAndMemfd, true, Splice),
        row(17, "u+mfd buffer c_f_r", UdmabufAndMemfd, false, CopyFileRange),
        row(18, "u+mfd direct c_f_r", UdmabufAndMemfd, true, CopyFileRange),
        row(19, "udmabuf buffer c_f_r", Udmabuf, false, CopyFileRange),
        row(20, "udmabuf direct c_f_r", Udmabuf, true, CopyFileRange),
        row(21, "dmabuf buffer c_f_r", SystemHeap, false, CopyFileRange),
        row(22, "dmabuf direct c_f_r", SystemHeap, true, CopyFileRange),
        row(23, "dmabuf buffer R/W (end)", SystemHeap, false, ReadWrite),
    ]
};

/// Measures the methods of the table.
pub fn run(bench: &mut Bench) -> Result<()> {
    for method in METHODS {
        let (bytes, buffers) = (bench.setup.total_bytes(), u64::from(bench.setup.buffers));
        let case = Case::new(Kind::Seed, method.name, Direction::Load, bytes, buffers);
        bench.measure(Case { row: Some(method.row), ..case }, |setup| load(setup, method))?;
    }
    Ok(())
}

fn load(setup: &Setup, method: Method) -> Result<Phases> {
    let file = setup.source.open(if method.direct { Mode::Direct } else { Mode::Buffered })?;
    let (buffers, create) = setup.meter.measure(|| {
        (0..setup.buffers)
            .map(|_| setup.devices.create(method.exporter, setup.buffer_bytes))
            .collect::<Result<Vec<Buffer>>>()
    })?;
    let (mappings, io) = setup.meter.measure(|| load_all(method.call, &file, &buffers))?;
    for (buffer, offset_bytes) in buffers.iter().zip(offsets_bytes(setup.buffer_bytes)) {
        setup.source.verify(buffer.shared_fd()?, buffer.size_bytes, offset_bytes)?;
    }
    let ((), close) = setup.meter.measure(|| {
        drop(mappings);
        drop(buffers);
        Ok(())
    })?;
    Ok(Phases { create: Some(create), io: Some(io), close: Some(close) })
}

/// Returns the file offset of each buffer's part.
pub fn offsets_bytes(buffer_bytes: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |index| index * buffer_bytes)
}

/// Loads the parts of a file, one into each buffer; returns the mappings that the method made.
pub fn load_all(call: Call, file: &File, buffers: &[Buffer]) -> Result<Vec<MappedRange<'static>>> {
    let mut mappings = Vec::new();
    let pipe = match call {
        Call::Splice => Some(Pipe::new()?),
        _ => None,
    };
    for (buffer, file_offset_bytes) in buffers.iter().zip(offsets_bytes(buffers[0].size_bytes)) {
        let target = buffer.io_fd()?;
        let len_bytes = usize::try_from(buffer.size_bytes)?;
        match (call, &pipe) {
            (Call::ReadWrite, _) => {
                mappings.push(read_mapped(file, file_offset_bytes, target, buffer.size_bytes)?);
            }
            (Call::Splice, Some(pipe)) => {
                pipe.splice_through(file, file_offset_bytes, target, len_bytes)?;
            }
            (Call::SendFile, _) | (Call::Splice, None) => {
                // sendfile(2) writes at the memfd's file position, which is still 0 at the first
                // call.
                in_full(len_bytes, |done| {
                    let mut offset = file_offset_bytes + done as u64;
                    Ok(sendfile(target, file, Some(&mut offset), len_bytes - done)?)
                })
                .context("sendfile")?;
            }
            (Call::CopyFileRange, _) => in_full(len_bytes, |done| {
                let offset = file_offset_bytes + done as u64;
                unless_refused(copy_file_range(file, offset, target, done as u64, len_bytes - done))
            })?,
        }
    }
    Ok(mappings)
}

/// Reads into a new mapping of the buffer. Also fills the buffers of the save table.
pub fn read_mapped(
    file: &File,
    file_offset_bytes: u64,
    target: BorrowedFd<'_>,
    len_bytes: u64,
) -> Result<MappedRange<'static>> {
    let mapped = buffer::map(target, len_bytes, CpuAccess::WRITE)?;
    in_full(usize::try_from(len_bytes)?, |done| {
        let done = done as u64;
        Ok(mapped.pread(done, len_bytes - done, file, file_offset_bytes + done)? as usize)
    })
    .context("read")?;
    mapped.finish().context("DMA_BUF_SYNC_END")
}

/// Repeats `call`, which receives the bytes done so far and returns the bytes that it added, until
/// `len_bytes` are done.
pub fn in_full(len_bytes: usize, mut call: impl FnMut(usize) -> Result<usize>) -> Result<()> {
    let mut done = 0;
    while done < len_bytes {
        let moved = call(done)?;
        ensure!(moved > 0, "nothing moved after {done} of {len_bytes} bytes");
        done += moved;
    }
    Ok(())
}

struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
}

impl Pipe {
    fn new() -> Result<Self> {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC).context("pipe")?;
        fcntl_setpipe_size(&input, PIPE_BYTES).context("F_SETPIPE_SZ")?;
        Ok(Self { output, input })
    }

    fn splice_through(
        &self,
        file: &File,
        file_offset_bytes: u64,
        target: BorrowedFd<'_>,
        len_bytes: usize,
    ) -> Result<()> {
        in_full(len_bytes, |done| {
            let mut from = file_offset_bytes + done as u64;
            let (left, none) = (len_bytes - done, SpliceFlags::empty());
            let in_pipe = splice(file.as_fd(), Some(&mut from), &self.input, None, left, none)
                .context("splice into the pipe")?;
            in_full(in_pipe, |out| {
                let mut to = (done + out) as u64;
                splice(&self.output, None, target, Some(&mut to), in_pipe - out, none)
                    .context("splice out of the pipe")
            })?;
            Ok(in_pipe)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_has_every_row() {
        let names: HashSet<&str> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(names.len(), METHODS.len());
        assert!(METHODS.iter().zip(1..).all(|(method, number)| method.row == number));
        for method in METHODS {
            let how = if method.direct { " direct " } else { " buffer " };
            assert!(method.name.contains(how), "{}", method.name);
        }
    }

    #[test]
    fn every_call_moves_a_file_into_a_memfd() {
        let content: Vec<u8> = (0..3 << 20_u32).map(|index| (index % 251) as u8).collect();
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), &content).unwrap();
        let file = File::open(path.path()).unwrap();
        for call in [Call::ReadWrite, Call::SendFile, Call::Splice] {
            let memfd = dmabuf_uapi::memfd::create_sealed(c"test", 2 << 20).unwrap();
            let reader = memfd.try_clone().unwrap();
            let buffer = Buffer::of_memfd(memfd, 2 << 20);
            load_all(call, &file, &[buffer]).unwrap();
            let mut seen = vec![0; 2 << 20];
            rustix::io::pread(&reader, seen.as_mut_slice(), 0).unwrap();
            assert!(seen == content[..2 << 20], "{call:?}");
        }
    }

    #[test]
    fn a_call_that_moves_nothing_is_an_error() {
        assert!(in_full(10, |_| Ok(0)).is_err());
        let mut calls = Vec::new();
        in_full(10, |done| {
            calls.push(done);
            Ok(4.min(10 - done))
        })
        .unwrap();
        assert_eq!(calls, [0, 4, 8]);
    }
}
