// SPDX-License-Identifier: Apache-2.0
//! Access to the bytes of a buffer, by the client's own mapping.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{ensure, Context, Result};
use dmabuf_loader_client::aidl::DmaBuf::DmaBuf;
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::dma_heap::open_heap;
use dmabuf_uapi::mapped_buffer::MappedBuffer;
use vts_support::outcome::skip;
use vts_support::pattern;

const CHUNK_BYTES: usize = 1 << 20;

/// The fd of a buffer.
pub fn fd(buffer: &DmaBuf) -> Result<BorrowedFd<'_>> {
    let fd: &OwnedFd = buffer.fd.as_ref().context("the buffer has no fd")?.as_ref();
    Ok(fd.as_fd())
}

/// Opens the system heap in this process; skips the test if the client may not open it.
pub fn own_system_heap() -> Result<OwnedFd> {
    open_heap("/dev/dma_heap/system".as_ref()).map_err(|errno| {
        println!("EXPECT-AVC: dmabuf_system_heap_device");
        skip(format!("the system heap: {errno}"))
    })
}

/// Compares ranges of a buffer chunk by chunk, inside a CPU access bracket.
pub struct View<'a>(MappedBuffer<'a>);

impl<'a> View<'a> {
    /// Maps the whole buffer.
    pub fn new(buffer: &'a DmaBuf) -> Result<Self> {
        let size_bytes = u64::try_from(buffer.sizeBytes)?;
        let access = CpuAccess::READ | CpuAccess::WRITE;
        let mapped = MappedBuffer::of_dma_buf(fd(buffer)?, 0..size_bytes, access)
            .context("mapping the buffer")?;
        Ok(Self(mapped))
    }

    /// Copies a range out of the buffer.
    pub fn bytes(&self, offset_bytes: u64, len_bytes: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len_bytes];
        self.0.read(offset_bytes, &mut bytes).context("reading the buffer")?;
        Ok(bytes)
    }

    /// Overwrites a range.
    pub fn write(&self, offset_bytes: u64, bytes: &[u8]) -> Result<()> {
        self.0.write(offset_bytes, bytes).context("writing the buffer")
    }

    /// Fails unless a range holds the bytes that `expected` returns for each chunk, given its
    /// offset in the range and its length.
    pub fn expect(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        expected: impl Fn(u64, usize) -> Vec<u8>,
    ) -> Result<()> {
        let mut done = 0;
        while done < len_bytes {
            let len = (len_bytes - done).min(CHUNK_BYTES as u64) as usize;
            let seen = self.bytes(offset_bytes + done, len)?;
            let what = format!("buffer from byte {}", offset_bytes + done);
            pattern::assert_same(&seen, &expected(done, len), &what);
            done += len as u64;
        }
        Ok(())
    }

    /// Fails unless every byte from the offset to the end of the buffer is zero.
    pub fn expect_zero_from(&self, offset_bytes: u64) -> Result<()> {
        let size_bytes = self.0.len_bytes();
        ensure!(offset_bytes <= size_bytes, "offset {offset_bytes} is past the buffer");
        self.expect(offset_bytes, size_bytes - offset_bytes, |_, len| vec![0; len])
    }
}
