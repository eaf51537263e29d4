// SPDX-License-Identifier: Apache-2.0
//! The client's view of a buffer: its fd, and a digest of its bytes through this process's mapping.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use dmabuf_loader_client::aidl::DmaBuf::DmaBuf;
use dmabuf_uapi::dma_buf::CpuAccess;
use dmabuf_uapi::mapped_buffer::MappedBuffer;
use ring::digest;

/// Bytes that are copied out of the buffer at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// The fd of a buffer that the service returned.
pub fn fd(buffer: &DmaBuf) -> anyhow::Result<BorrowedFd<'_>> {
    let fd: &OwnedFd = buffer.fd.as_ref().context("the service returned no buffer")?.as_ref();
    Ok(fd.as_fd())
}

/// SHA-256 of the first bytes of a buffer, read through this process's own mapping.
pub fn sha256(buffer: &DmaBuf, len_bytes: u64) -> anyhow::Result<digest::Digest> {
    let (fd, range, access) = (fd(buffer)?, 0..len_bytes, CpuAccess::READ);
    let mapped = if buffer.deviceShareable {
        MappedBuffer::of_dma_buf(fd, range, access)
    } else {
        MappedBuffer::of_memfd(fd, range, access)
    };
    let mapped = mapped.context("mapping the buffer")?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    for offset_bytes in (0..len_bytes).step_by(CHUNK_BYTES) {
        let count = (len_bytes - offset_bytes).min(CHUNK_BYTES as u64) as usize;
        mapped.read(offset_bytes, &mut chunk[..count]).context("reading the buffer")?;
        context.update(&chunk[..count]);
    }
    mapped.finish().context("ending CPU access to the buffer")?;
    Ok(context.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use binder::ParcelFileDescriptor;
    use dmabuf_uapi::memfd::create_sealed;
    use dmabuf_uapi::Errno;

    fn buffer(bytes: &[u8]) -> DmaBuf {
        let memfd = create_sealed(c"test", bytes.len() as u64).unwrap();
        std::os::unix::fs::FileExt::write_all_at(
            &std::fs::File::from(memfd.try_clone().unwrap()),
            bytes,
            0,
        )
        .unwrap();
        DmaBuf { fd: Some(ParcelFileDescriptor::new(memfd)), ..Default::default() }
    }

    #[test]
    fn the_digest_covers_only_the_requested_length() {
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES + 5000).map(|index| (index % 251) as u8).collect();
        let buffer = buffer(&bytes);
        for len in [1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, bytes.len()] {
            let expected = digest::digest(&digest::SHA256, &bytes[..len]);
            assert_eq!(sha256(&buffer, len as u64).unwrap().as_ref(), expected.as_ref(), "{len}");
        }
    }

    #[test]
    fn a_shareable_buffer_must_be_a_dma_buf() {
        let buffer = DmaBuf { deviceShareable: true, ..buffer(&[1; 4096]) };
        let error = sha256(&buffer, 4096).unwrap_err();
        assert_eq!(error.downcast_ref::<Errno>(), Some(&Errno::NOTTY), "{error:#}");
        assert!(sha256(&DmaBuf::default(), 4096).is_err(), "no fd");
    }
}
