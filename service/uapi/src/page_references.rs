// SPDX-License-Identifier: Apache-2.0
//! Whether processes can hold pages of a mapping beyond the mapping's end.
//!
//! Source: `vmsplice(2)`, `pipe(2)`.

use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use rustix::io::{Errno, Result};

use crate::mapping::Mapping;

/// A page of a mapping, held by a pipe: the page itself, not a copy.
#[derive(Debug)]
pub struct HeldPage {
    /// Reading from it copies the bytes that the page has then.
    pub pipe: OwnedFd,
}

/// Holds the first page of a mapping, as direct I/O and registered buffers of io_uring would.
///
/// # Errors
/// `FAULT`: the kernel lets nobody hold pages of this mapping, as it should for a dma-buf. `MFILE`.
pub fn hold_first_page(mapping: &Mapping) -> Result<HeldPage> {
    let made = pipe2(OFlag::O_CLOEXEC);
    let (pipe, to_pipe) = made.map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
    mapping.splice_first_page(&to_pipe)?;
    Ok(HeldPage { pipe })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::mapping::MappingAccess;
    use crate::page_size_bytes;

    #[test]
    fn a_held_page_outlives_its_mapping() {
        let memfd = crate::memfd::create_sealed(c"held", 1 << 20).unwrap();
        let mapping = Mapping::shared(&memfd, 1 << 20, MappingAccess::ReadWrite).unwrap();
        let held = hold_first_page(&mapping).unwrap();
        mapping.write(1, b"after").unwrap();
        drop(mapping);
        let mut seen = Vec::new();
        std::fs::File::from(held.pipe).read_to_end(&mut seen).unwrap();
        assert_eq!(seen.len(), page_size_bytes());
        assert_eq!(&seen[..6], b"\0after");
    }
}
