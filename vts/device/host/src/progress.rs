// SPDX-License-Identifier: Apache-2.0
//! Progress for the person who waits: on a terminal a live line for each phase, plain lines
//! otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(200);
const DETAIL_MAX_CHARS: usize = 60;

/// Where progress and results are printed; its clones share the place.
#[derive(Debug, Clone)]
pub struct Progress {
    bars: Option<MultiProgress>,
    started: Instant,
}

impl Progress {
    /// Live if standard output and standard error are a terminal.
    pub fn new() -> Self {
        let live = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        Self { bars: live.then(MultiProgress::new), started: Instant::now() }
    }

    /// Prints lines for good.
    pub fn print(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }

    /// Begins a phase, which ends when the returned value is dropped.
    pub fn phase(&self, name: impl Into<String>) -> Phase {
        let name = name.into();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix} [{elapsed_precise}] {msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(TICK);
            bar
        });
        if bar.is_none() {
            self.print(&format!("[{:6.1} s] {name}", self.started.elapsed().as_secs_f64()));
        }
        Phase { name, bar, progress: self.clone(), started: Instant::now() }
    }
}

/// A part of the work that takes a while.
#[derive(Debug)]
pub struct Phase {
    name: String,
    bar: Option<ProgressBar>,
    progress: Progress,
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
        self.progress.print(text);
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.print(&format!(
                "[{:6.1} s] {} ({:.1} s)",
                self.progress.started.elapsed().as_secs_f64(),
                self.name,
                self.started.elapsed().as_secs_f64()
            ));
        }
    }
}
