// SPDX-License-Identifier: Apache-2.0
//! How much memory the machine has.
//!
//! Source: `sysinfo(2)`.

use nix::sys::sysinfo::sysinfo;

/// The usable main memory in bytes.
pub fn total_bytes() -> u64 {
    // The call fails for a bad address alone.
    sysinfo().map_or(0, |info| info.ram_total())
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_memory() {
        assert!(super::total_bytes() > 1 << 20);
    }
}
