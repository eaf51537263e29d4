// SPDX-License-Identifier: Apache-2.0
//! The client's view of a buffer: its fd, and a digest of its bytes through this process's mapping.

use std::ops::Range;
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

/// SHA-256 of ranges of a buffer, one after the other, read through this process's own mapping.
pub fn sha256(buffer: &DmaBuf, ranges: &[Range<u64>]) -> anyhow::Result<digest::Digest> {
    let mut context = digest::Context::new(&digest::SHA256);
    read(buffer, ranges, |_, bytes| context.update(bytes))?;
    Ok(context.finish())
}

/// SHA-256 of each of several ranges of a buffer.
pub fn sha256_each(buffer: &DmaBuf, ranges: &[Range<u64>]) -> anyhow::Result<Vec<digest::Digest>> {
    let mut contexts: Vec<digest::Context> =
        ranges.iter().map(|_| digest::Context::new(&digest::SHA256)).collect();
    read(buffer, ranges, |index, bytes| contexts[index].update(bytes))?;
    Ok(contexts.into_iter().map(digest::Context::finish).collect())
}

/// Hands the bytes of ranges of a buffer to `take`, in chunks, with the index of their range.
fn read(
    buffer: &DmaBuf,
    ranges: &[Range<u64>],
    mut take: impl FnMut(usize, &[u8]),
) -> anyhow::Result<()> {
    let span = 0..ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let (fd, access) = (fd(buffer)?, CpuAccess::READ);
    if span.is_empty() {
        return Ok(());
    }
    let mapped = if buffer.deviceShareable {
        MappedBuffer::of_dma_buf(fd, span, access)
    } else {
        MappedBuffer::of_memfd(fd, span, access)
    };
    let mapped = mapped.context("mapping the buffer")?;
    let mut chunk = vec![0; CHUNK_BYTES];
    for (index, range) in ranges.iter().enumerate() {
        for offset_bytes in range.clone().step_by(CHUNK_BYTES) {
            let count = (range.end - offset_bytes).min(CHUNK_BYTES as u64) as usize;
            mapped.read(offset_bytes, &mut chunk[..count]).context("reading the buffer")?;
            take(index, &chunk[..count]);
        }
    }
    mapped.finish().context("ending CPU access to the buffer")?;
    Ok(())
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

    /// The range up to `end_bytes`.
    fn up_to(end_bytes: usize) -> Range<u64> {
        0..end_bytes as u64
    }

    #[test]
    fn the_digest_covers_only_the_requested_length() {
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES + 5000).map(|index| (index % 251) as u8).collect();
        let buffer = buffer(&bytes);
        for len in [1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, bytes.len()] {
            let expected = digest::digest(&digest::SHA256, &bytes[..len]);
            assert_eq!(
                sha256(&buffer, &[up_to(len)]).unwrap().as_ref(),
                expected.as_ref(),
                "{len}"
            );
        }
    }

    #[test]
    fn a_shareable_buffer_must_be_a_dma_buf() {
        let buffer = DmaBuf { deviceShareable: true, ..buffer(&[1; 4096]) };
        let error = sha256(&buffer, &[up_to(4096)]).unwrap_err();
        assert_eq!(error.downcast_ref::<Errno>(), Some(&Errno::NOTTY), "{error:#}");
        assert!(sha256(&DmaBuf::default(), &[up_to(4096)]).is_err(), "no fd");
    }

    #[test]
    fn the_digest_takes_ranges_in_their_order() {
        let buffer = buffer(&[[1; 4096], [2; 4096]].concat());
        let expected = digest::digest(&digest::SHA256, &[2, 2, 1]);
        let ranges = [5000..5002, 7..7, 9..10];
        assert_eq!(sha256(&buffer, &ranges).unwrap().as_ref(), expected.as_ref());
        let empty = digest::digest(&digest::SHA256, &[]);
        let each = sha256_each(&buffer, &ranges).unwrap();
        assert_eq!(each[0].as_ref(), digest::digest(&digest::SHA256, &[2, 2]).as_ref());
        assert_eq!((each[1].as_ref(), each.len()), (empty.as_ref(), 3));
        assert_eq!(sha256(&buffer, &[up_to(0)]).unwrap().as_ref(), empty.as_ref());
        assert_eq!(sha256(&buffer, &[]).unwrap().as_ref(), empty.as_ref());
    }
}
