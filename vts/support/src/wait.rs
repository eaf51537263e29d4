// SPDX-License-Identifier: Apache-2.0
//! Waiting for what another thread or process does.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks again and again until what is seen `holds`.
///
/// Fails with the last sight if that has not come within `patience`.
pub fn wait_until<S: Debug>(
    patience: Duration,
    what: &str,
    look: impl Fn() -> Result<S>,
    holds: impl Fn(&S) -> bool,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let seen = look()?;
        if holds(&seen) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("after {patience:?} still not: {what}: {seen:?}");
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn it_looks_until_it_holds_or_patience_ends() {
        let count = Cell::new(0);
        let look = || {
            count.set(count.get() + 1);
            Ok(count.get())
        };
        wait_until(Duration::from_secs(60), "three", look, |seen| *seen == 3).unwrap();
        let error = wait_until(Duration::ZERO, "never", look, |_| false).unwrap_err().to_string();
        assert_eq!(error, "after 0ns still not: never: 4");
    }
}
