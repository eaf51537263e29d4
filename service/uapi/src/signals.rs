// SPDX-License-Identifier: Apache-2.0
//! The signal that a write past a file size limit sends.
//!
//! Source: `setrlimit(2)`, `RLIMIT_FSIZE`; `signal(7)`.

use rustix::io::Result;

use crate::last_errno;

/// Ignores SIGXFSZ in the whole process. A write past `RLIMIT_FSIZE`, or past the largest file that
/// the file system has, then fails with `FBIG`, where by default it would end the process.
///
/// # Errors
/// None that is documented for this signal.
pub fn ignore_file_size_limit() -> Result<()> {
    // SAFETY: SIG_IGN is not a handler, so that no code runs when the signal arrives.
    let previous = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    if previous == libc::SIG_ERR {
        return Err(last_errno());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signal_can_be_ignored() {
        assert_eq!(super::ignore_file_size_limit(), Ok(()));
    }
}
