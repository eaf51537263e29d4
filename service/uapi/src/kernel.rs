// SPDX-License-Identifier: Apache-2.0
//! Which kernel this is.
//!
//! Source: `uname(2)`.

use nix::sys::utsname::uname;

/// The kernel's release, for example `6.12.23-android16-5-g0123456789ab`.
pub fn release() -> String {
    // The call fails for a bad address alone.
    uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_release_is_that_of_procfs() {
        let expected = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(super::release(), expected.trim_end());
    }
}
