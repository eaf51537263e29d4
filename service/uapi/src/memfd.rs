// SPDX-License-Identifier: Apache-2.0
//! memfds of a fixed size: the memory behind a udmabuf.
//!
//! Source: `memfd_create(2)`, `fcntl(2)`.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
use rustix::io::{Errno, Result};

/// Makes a zero-filled memfd of `size_bytes` that can neither shrink nor grow nor be sealed
/// further.
///
/// It stays writable: udmabuf refuses a memfd that is sealed against writing.
///
/// # Errors
/// - `INVAL`: the name is longer than 249 bytes.
/// - `FBIG`, `NOMEM`, `MFILE`, `NFILE` as in the man pages.
pub fn create_sealed(name: &CStr, size_bytes: u64) -> Result<OwnedFd> {
    create(name, size_bytes, MemfdFlags::empty())
}

/// As [`create_sealed`], of hugetlb pages of [`crate::mapping::HUGE_PAGE_BYTES`]. Pages are taken
/// from the pool when the memfd is mapped.
///
/// # Errors
/// As for [`create_sealed`], and
/// - `INVAL`: `size_bytes` is not a multiple of the page size.
/// - `OPNOTSUPP`, `NODEV`: the kernel has no huge pages of that size.
pub fn create_sealed_hugetlb(name: &CStr, size_bytes: u64) -> Result<OwnedFd> {
    create(name, size_bytes, MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB)
}

fn create(name: &CStr, size_bytes: u64, pages: MemfdFlags) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | pages;
    let memfd = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Kernels before 6.3 do not know MFD_NOEXEC_SEAL.
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        other => other?,
    };
    ftruncate(&memfd, size_bytes)?;
    fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memfd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_memfd_keeps_its_size() {
        let memfd = create_sealed(c"test", 8192).unwrap();
        assert_eq!(ftruncate(&memfd, 4096), Err(Errno::PERM));
        assert_eq!(ftruncate(&memfd, 16384), Err(Errno::PERM));
        assert_eq!(rustix::fs::fstat(&memfd).unwrap().st_size, 8192);
    }
}
