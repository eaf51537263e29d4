// SPDX-License-Identifier: Apache-2.0
//! Counts calls of a function of the kernel, for effects that user space cannot see.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result};
use vts_support::outcome::skip;

const EVENTS: &str = "/sys/kernel/tracing/kprobe_events";
const PROFILE: &str = "/sys/kernel/tracing/kprobe_profile";

/// A probe at the start of a function, until it is dropped.
pub struct Kprobe {
    name: String,
}

impl Kprobe {
    /// Begins to count; skips the test where the kernel cannot.
    pub fn new(function: &str) -> Result<Self> {
        let name = format!("dmabuf_{function}");
        append(EVENTS, &format!("p:{name} {function}"))
            .map_err(|error| skip(format!("no probe at {function}: {error:#}")))?;
        let probe = Self { name };
        probe.enable(true)?;
        Ok(probe)
    }

    /// How often the function was called since.
    pub fn calls(&self) -> Result<u64> {
        let profile = std::fs::read_to_string(PROFILE).context(PROFILE)?;
        let counts = profile.lines().find_map(|line| line.trim().strip_prefix(&self.name));
        let hits = counts.and_then(|counts| counts.split_whitespace().next());
        Ok(hits.with_context(|| format!("{PROFILE} has no {}", self.name))?.parse()?)
    }

    fn enable(&self, on: bool) -> Result<()> {
        let switch = format!("/sys/kernel/tracing/events/kprobes/{}/enable", self.name);
        std::fs::write(&switch, if on { "1" } else { "0" }).context(switch)
    }
}

impl Drop for Kprobe {
    fn drop(&mut self) {
        let removed = self.enable(false).and_then(|()| append(EVENTS, &format!("-:{}", self.name)));
        if let Err(error) = removed {
            eprintln!("the probe {} cannot be removed: {error:#}", self.name);
        }
    }
}

fn append(file: &str, line: &str) -> Result<()> {
    let mut file = OpenOptions::new().append(true).open(file).context(file.to_owned())?;
    Ok(file.write_all(line.as_bytes())?)
}
