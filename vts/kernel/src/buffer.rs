// SPDX-License-Identifier: Apache-2.0
//! The dma-bufs that the tests copy to and from, with CPU access to their bytes.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{ensure, Context, Result};
use dmabuf_uapi::copy_file_range::copy_file_range;
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapped_buffer::MappedBuffer;
use dmabuf_uapi::udmabuf::{self, MemfdRange};
use dmabuf_uapi::{dma_heap, memfd, Errno};
use vts_support::outcome::skip;
use vts_uapi::udmabuf::{create_list, LIST_LIMIT_PARAMETER};

const SYSTEM_HEAP: &str = "/dev/dma_heap/system";
const MEMFD_NAME: &CStr = c"vts-kernel";

/// The exporter of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// `/dev/dma_heap/system`.
    SystemHeap,
    /// `/dev/udmabuf` over a memfd of ordinary pages.
    Udmabuf,
}

impl Exporter {
    /// All exporters.
    pub const ALL: [Self; 2] = [Self::SystemHeap, Self::Udmabuf];
}

impl fmt::Display for Exporter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SystemHeap => "system_heap",
            Self::Udmabuf => "udmabuf",
        })
    }
}

/// A dma-buf, open for reading and writing.
pub struct Buffer {
    fd: OwnedFd,
    size_bytes: usize,
}

impl AsFd for Buffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Buffer {
    /// Makes a zeroed buffer; the size is rounded up to whole pages.
    pub fn new(exporter: Exporter, size_bytes: usize) -> Result<Self> {
        let size_bytes = size_bytes.next_multiple_of(dmabuf_uapi::page_size_bytes());
        match exporter {
            Exporter::SystemHeap => {
                let heap = dma_heap::open_heap(Path::new(SYSTEM_HEAP)).context(SYSTEM_HEAP)?;
                let fd = dma_heap::allocate(heap, size_bytes as u64).context("allocating")?;
                Ok(Self { fd, size_bytes })
            }
            Exporter::Udmabuf => {
                let size_bytes = size_bytes as u64;
                let memfd = memfd::create_sealed(MEMFD_NAME, size_bytes)?;
                Self::of_memfd(&[MemfdRange { memfd: memfd.as_fd(), offset_bytes: 0, size_bytes }])
            }
        }
    }

    /// Makes a udmabuf of ranges of memfds.
    pub fn of_memfd(ranges: &[MemfdRange<'_>]) -> Result<Self> {
        let size_bytes = ranges.iter().map(|range| range.size_bytes).sum::<u64>();
        raise_limit(udmabuf::SIZE_LIMIT_MIB_PARAMETER, size_bytes.div_ceil(1 << 20))?;
        raise_limit(LIST_LIMIT_PARAMETER, ranges.len() as u64)?;
        let device = udmabuf::open_device().context(udmabuf::UDMABUF_NODE)?;
        let fd = create_list(device, ranges).context("UDMABUF_CREATE_LIST")?;
        Ok(Self { fd, size_bytes: size_bytes as usize })
    }

    /// Makes a udmabuf of at least `size_bytes` that repeats the same `item_bytes` of memory.
    pub fn repeating(item_bytes: u64, size_bytes: u64) -> Result<(Self, OwnedFd)> {
        let memfd = memfd::create_sealed(MEMFD_NAME, item_bytes)?;
        let item = MemfdRange { memfd: memfd.as_fd(), offset_bytes: 0, size_bytes: item_bytes };
        let buffer = Self::of_memfd(&vec![item; size_bytes.div_ceil(item_bytes) as usize])?;
        Ok((buffer, memfd))
    }

    /// Makes a buffer with `value` in every byte.
    pub fn filled(exporter: Exporter, size_bytes: usize, value: u8) -> Result<Self> {
        let buffer = Self::new(exporter, size_bytes)?;
        let chunk = vec![value; buffer.size_bytes.min(1 << 20)];
        let mapped = buffer.map(0, buffer.size_bytes, CpuAccess::WRITE)?;
        for offset in (0..buffer.size_bytes).step_by(chunk.len()) {
            let len = chunk.len().min(buffer.size_bytes - offset);
            mapped.write(offset as u64, &chunk[..len])?;
        }
        mapped.finish()?;
        Ok(buffer)
    }

    /// Returns the size in bytes.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Loads part of a file.
    pub fn load(
        &self,
        file: &File,
        file_offset_bytes: u64,
        buffer_offset_bytes: u64,
        len_bytes: usize,
    ) -> Result<usize, Errno> {
        copy_file_range(file, file_offset_bytes, self, buffer_offset_bytes, len_bytes)
    }

    /// Saves part of the buffer.
    pub fn save(
        &self,
        buffer_offset_bytes: u64,
        file: &File,
        file_offset_bytes: u64,
        len_bytes: usize,
    ) -> Result<usize, Errno> {
        copy_file_range(self, buffer_offset_bytes, file, file_offset_bytes, len_bytes)
    }

    /// Reads part of the buffer with the CPU.
    pub fn bytes(&self, offset_bytes: usize, len_bytes: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len_bytes];
        let mapped = self.map(offset_bytes, len_bytes, CpuAccess::READ)?;
        mapped.read(0, &mut bytes)?;
        mapped.finish()?;
        Ok(bytes)
    }

    /// Writes part of the buffer with the CPU.
    pub fn write(&self, offset_bytes: usize, bytes: &[u8]) -> Result<()> {
        let mapped = self.map(offset_bytes, bytes.len(), CpuAccess::WRITE)?;
        mapped.write(0, bytes)?;
        mapped.finish()?;
        Ok(())
    }

    /// Maps part of the buffer and begins CPU access.
    pub fn map(
        &self,
        offset_bytes: usize,
        len_bytes: usize,
        access: CpuAccess,
    ) -> Result<MappedBuffer<'_>> {
        let range = offset_bytes as u64..(offset_bytes + len_bytes) as u64;
        Ok(MappedBuffer::of_dma_buf(self.as_fd(), range, access)?)
    }
}

fn raise_limit(parameter: &str, wanted: u64) -> Result<()> {
    let current = std::fs::read_to_string(parameter).with_context(|| parameter.to_owned())?;
    if current.trim().parse::<u64>()? >= wanted {
        return Ok(());
    }
    std::fs::write(parameter, wanted.to_string())
        .map_err(|error| skip(format!("{parameter} cannot be raised to {wanted}: {error}")))
}

/// Skips a test that needs more memory than is available.
pub fn require_available_memory(needed_mib: u64) -> Result<()> {
    let available_mib = meminfo_kib("MemAvailable:")? / 1024;
    if available_mib < needed_mib {
        return Err(skip(format!(
            "needs {needed_mib} MiB of memory, {available_mib} are available"
        )));
    }
    Ok(())
}

/// Returns a value of `/proc/meminfo`, in KiB.
pub fn meminfo_kib(key: &str) -> Result<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
    let value = line.and_then(|rest| rest.split_whitespace().next());
    ensure!(value.is_some(), "no {key} in /proc/meminfo");
    Ok(value.unwrap_or_default().parse()?)
}
