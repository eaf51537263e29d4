// SPDX-License-Identifier: Apache-2.0
//! Waiting for the effects of another thread or process.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Calls `look` again and again until `holds` accepts its result.
///
/// Fails with the last result if `holds` does not accept one within `patience`.
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
            bail!("not within {patience:?}: {what}: {seen:?}");
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn waiting_ends_when_the_condition_holds_or_time_is_up() {
        let count = Cell::new(0);
        let look = || {
            count.set(count.get() + 1);
            Ok(count.get())
        };
        wait_until(Duration::from_secs(60), "three", look, |seen| *seen == 3).unwrap();
        let error = wait_until(Duration::ZERO, "never", look, |_| false).unwrap_err().to_string();
        assert_eq!(error, "not within 0ns: never: 4");
    }
}
