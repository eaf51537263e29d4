// SPDX-License-Identifier: Apache-2.0
//! What the person who waits sees: one live line on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(200);
const DETAIL_MAX_CHARS: usize = 60;

/// Where progress and results are printed.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Progress {
    /// Live if standard output and standard error are a terminal.
    pub fn new() -> Self {
        let live = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        Self { bar: live.then(ProgressBar::hidden), started: Instant::now() }
    }

    /// Prints lines for good.
    pub fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }

    /// Says what is being done until the returned value is dropped.
    pub fn phase(&self, name: impl Into<String>) -> Phase {
        let name = name.into();
        let bar = match &self.bar {
            Some(_) => {
                let bar = ProgressBar::new_spinner();
                if let Ok(style) =
                    ProgressStyle::with_template("{spinner} {prefix} [{elapsed_precise}] {msg}")
                {
                    bar.set_style(style);
                }
                bar.set_prefix(name.clone());
                bar.enable_steady_tick(TICK);
                Some(bar)
            }
            None => {
                self.print(&format!("[{:6.1} s] {name}", self.started.elapsed().as_secs_f64()));
                None
            }
        };
        Phase { name, bar, run_started: self.started, started: Instant::now() }
    }
}

/// Something that takes a while.
#[derive(Debug)]
pub struct Phase {
    name: String,
    bar: Option<ProgressBar>,
    run_started: Instant,
    started: Instant,
}

impl Phase {
    /// Shows how far it is; on a terminal only.
    pub fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.trim().chars().take(DETAIL_MAX_CHARS).collect::<String>());
        }
    }

    /// Prints lines for good.
    pub fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            println!(
                "[{:6.1} s] {} ({:.1} s)",
                self.run_started.elapsed().as_secs_f64(),
                self.name,
                self.started.elapsed().as_secs_f64()
            );
        }
    }
}
