// SPDX-License-Identifier: Apache-2.0
//! Whether whoever maps a buffer can hold its pages beyond the end of the mapping: by direct I/O,
//! `vmsplice(2)` or registered buffers of io_uring. Then the pages may be read and written when the
//! buffer has long been given back, and no other client may get them.
//!
//! Most exporters map their memory so that nobody can take references to it; udmabuf does so from
//! Linux 6.11 on, and in some stable kernels before.

use dmabuf_uapi::mapping::{Mapping, MappingAccess};
use dmabuf_uapi::page_references::hold_first_page;
use dmabuf_uapi::{page_size_bytes, Errno};

use crate::buffer::BufferView;

/// Tries it on a buffer. What cannot be found out counts as possible.
pub(super) fn can_be_held(sample: &BufferView<'_>) -> bool {
    match Mapping::shared(sample.fd, page_size_bytes(), MappingAccess::Read) {
        Ok(mapping) => hold_first_page(&mapping).err() != Some(Errno::FAULT),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use dmabuf_uapi::memfd::create_sealed;

    use super::*;
    use crate::buffer::BufferKind;

    #[test]
    fn pages_of_a_memfd_can_be_held() {
        let memfd = create_sealed(c"held", 8192).unwrap();
        assert!(can_be_held(&BufferView::new(memfd.as_fd(), 8192, BufferKind::Memfd)));
    }

    #[test]
    fn what_cannot_be_mapped_counts_as_held() {
        let null = std::fs::File::open("/dev/kmsg").or(std::fs::File::open("/")).unwrap();
        assert!(can_be_held(&BufferView::new(null.as_fd(), 8192, BufferKind::DmaBuf)));
    }
}
