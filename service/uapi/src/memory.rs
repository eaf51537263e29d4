// SPDX-License-Identifier: Apache-2.0
//! How much memory the machine has.
//!
//! Source: `sysinfo(2)`.

/// The usable main memory in bytes.
pub fn total_bytes() -> u64 {
    let mut info = std::mem::MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: sysinfo fills the one structure it is given, which is exclusively borrowed and alive.
    let returned = unsafe { libc::sysinfo(info.as_mut_ptr()) };
    debug_assert_eq!(returned, 0, "sysinfo fails only for a bad address");
    // SAFETY: the structure is plain integers, zeroed before the call filled it.
    let info = unsafe { info.assume_init() };
    // `totalram` is 32 bits wide in 32-bit processes.
    #[allow(clippy::useless_conversion)]
    let units = u64::from(info.totalram);
    units.saturating_mul(u64::from(info.mem_unit))
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_memory() {
        assert!(super::total_bytes() > 1 << 20);
    }
}
