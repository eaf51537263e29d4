// SPDX-License-Identifier: Apache-2.0
//! The busy time of a machine with one processor: tasks, kernel threads and interrupts together.
//!
//! `/proc/timer_list` shows the idle time of a processor in nanoseconds; interrupts during idle
//! time do not count as idle. The scheduler's accounting of tasks and the ticks of `/proc/stat`
//! have neither that resolution nor those interrupts. While a processor is idle, the file does not
//! show its current idle period, so the result is right only on the one processor of the machine,
//! which is busy reading the file.

use std::fs;

use anyhow::{ensure, Context, Result};

const TIMER_LIST: &str = "/proc/timer_list";

/// The busy time of a machine with one processor.
#[derive(Clone, Copy, Debug)]
pub struct SystemTime(());

impl SystemTime {
    /// Returns the clock if the machine has one processor and the process may read the file.
    pub fn of_one_processor() -> Option<Self> {
        busy_ns(&fs::read_to_string(TIMER_LIST).ok()?).ok().map(|_| Self(()))
    }

    /// Returns the nanoseconds since boot in which the processor was not idle.
    pub fn busy_ns(self) -> Result<u64> {
        let text = fs::read_to_string(TIMER_LIST).context(TIMER_LIST)?;
        busy_ns(&text)
    }
}

fn busy_ns(timer_list: &str) -> Result<u64> {
    let cpus = timer_list.lines().filter(|line| line.starts_with("cpu: ")).count();
    ensure!(cpus == 1, "{TIMER_LIST} shows {cpus} processors, expected 1");
    let now = number_after(timer_list, "now at ")?;
    let idle = number_after(timer_list, ".idle_sleeptime")?;
    let waiting_for_io = number_after(timer_list, ".iowait_sleeptime")?;
    now.checked_sub(idle + waiting_for_io).context("the processor was idle longer than it was on")
}

/// Finds the number that follows a key, after blanks and a colon.
fn number_after(text: &str, key: &str) -> Result<u64> {
    let missing = || format!("no {key} in {TIMER_LIST}");
    let (_, rest) = text.split_once(key).with_context(missing)?;
    let digits = rest.trim_start_matches([' ', ':']).split_whitespace().next();
    digits.with_context(missing)?.parse().with_context(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "Timer List Version: v0.10\nHRTIMER_MAX_CLOCK_BASES: 8\nnow at 1000000 nsecs\n\n\
        cpu: 0\n clock 0:\n  .base:               pending\n  .nohz          : 1\n  .idle_calls     : 5\n\
        \x20 .idle_sleeptime : 300000 nsecs\n  .iowait_sleeptime: 200 nsecs\n  .last_jiffies   : 7\n";

    #[test]
    fn busy_time_excludes_idle_time() {
        assert_eq!(busy_ns(ONE).unwrap(), 699_800);
    }

    #[test]
    fn two_processors_are_refused() {
        assert!(busy_ns(&format!("{ONE}\ncpu: 1\n")).is_err());
        assert!(busy_ns("cpu: 0\nnow at 5 nsecs\n").is_err());
    }
}
