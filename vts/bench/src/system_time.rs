// SPDX-License-Identifier: Apache-2.0
//! How long the machine's one processor has not been idle: tasks, kernel threads and interrupts together.
//!
//! `/proc/timer_list` tells the idle time of a processor in nanoseconds, interrupts taken while idle not counted as idle.
//! What the scheduler accounts to tasks, and `/proc/stat` in ticks, have neither that resolution nor those interrupts.
//! A processor that is idle while the file is read has an idle period under way that the file does not show, so the sum
//! is right only where the one processor is the one that reads.

use std::fs;

use anyhow::{ensure, Context, Result};

const TIMER_LIST: &str = "/proc/timer_list";

/// The busy time of a machine with one processor.
#[derive(Clone, Copy, Debug)]
pub struct SystemTime(());

impl SystemTime {
    /// Where it can be told: one processor, and permission to read the file.
    pub fn of_one_processor() -> Option<Self> {
        busy_ns(&fs::read_to_string(TIMER_LIST).ok()?).ok().map(|_| Self(()))
    }

    /// Nanoseconds since the machine started in which it was not idle.
    pub fn busy_ns(self) -> Result<u64> {
        let text = fs::read_to_string(TIMER_LIST).context(TIMER_LIST)?;
        busy_ns(&text)
    }
}

fn busy_ns(timer_list: &str) -> Result<u64> {
    let cpus = timer_list.lines().filter(|line| line.starts_with("cpu: ")).count();
    ensure!(cpus == 1, "{TIMER_LIST} tells of {cpus} processors");
    let now = number_after(timer_list, "now at ")?;
    let idle = number_after(timer_list, ".idle_sleeptime")?;
    let waiting_for_io = number_after(timer_list, ".iowait_sleeptime")?;
    now.checked_sub(idle + waiting_for_io).context("the processor was idle longer than it was on")
}

/// The number that follows a key, after blanks and a colon.
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
    fn busy_is_what_is_not_idle() {
        assert_eq!(busy_ns(ONE).unwrap(), 699_800);
    }

    #[test]
    fn two_processors_are_refused() {
        assert!(busy_ns(&format!("{ONE}\ncpu: 1\n")).is_err());
        assert!(busy_ns("cpu: 0\nnow at 5 nsecs\n").is_err());
    }
}
