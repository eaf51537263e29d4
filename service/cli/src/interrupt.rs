// SPDX-License-Identifier: Apache-2.0
//! SIGINT and SIGTERM: they cancel the task that runs, or else end the tool at once. Either way the
//! tool leaves no file behind.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use thiserror::Error;

/// What a shell reports of a program that SIGINT has ended.
pub const EXIT_STATUS: u8 = 130;

/// The request was cancelled because of a signal.
#[derive(Debug, Error)]
#[error("interrupted by {signal}: {what}")]
pub struct Interrupted {
    signal: Signal,
    what: String,
}

/// Watches the signals of the process. Clones share what it knows.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    task_runs: bool,
    signal: Option<Signal>,
    leftovers: Vec<PathBuf>,
}

impl State {
    /// Whether the tool goes on after a signal: once, so that its task can end.
    fn goes_on(&mut self, signal: Signal) -> bool {
        let first = self.signal.is_none();
        self.signal = Some(signal);
        self.task_runs && first
    }

    fn remove_leftovers(&self) {
        for path in &self.leftovers {
            // What the tool has removed itself is not there.
            let _ = if path.is_dir() {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
        }
    }
}

impl Interrupt {
    /// Blocks the signals for this thread and the threads that it starts, and takes them in a
    /// thread of its own.
    pub fn watch() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let interrupt = Self::default();
        let watcher = interrupt.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            while let Ok(signal) = signals.wait() {
                watcher.take(signal);
            }
        })?;
        Ok(interrupt)
    }

    fn take(&self, signal: Signal) {
        let mut state = self.state();
        if !state.goes_on(signal) {
            state.remove_leftovers();
            eprintln!("dmabufload: interrupted by {signal}");
            std::process::exit(EXIT_STATUS.into());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a file or a directory that the tool will remove, so that a signal removes it, too.
    pub fn making<T, E>(&self, make: impl FnOnce() -> Result<(T, PathBuf), E>) -> Result<T, E> {
        let mut state = self.state();
        let (made, path) = make()?;
        state.leftovers.push(path);
        Ok(made)
    }

    /// Does not return while a signal is ending the tool: what failed because the tool's files are
    /// being removed is not to be told.
    pub fn give_way(&self) {
        drop(self.state());
    }

    /// From now on a signal does not end the tool, but is for the task to find.
    pub fn task_begins(&self) -> RunningTask<'_> {
        self.state().task_runs = true;
        RunningTask(self)
    }
}

/// Lets a signal end the tool again when dropped.
pub struct RunningTask<'a>(&'a Interrupt);

impl RunningTask<'_> {
    /// Whether a signal has come.
    pub fn is_interrupted(&self) -> bool {
        self.0.state().signal.is_some()
    }

    /// Ends the task: the error if a signal has come. A later one ends the tool.
    pub fn end(self, what: impl FnOnce() -> String) -> Result<(), Interrupted> {
        let mut state = self.0.state();
        state.task_runs = false;
        match state.signal {
            Some(signal) => Err(Interrupted { signal, what: what() }),
            None => Ok(()),
        }
    }
}

impl Drop for RunningTask<'_> {
    fn drop(&mut self) {
        self.0.state().task_runs = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_signal_waits_for_the_task() {
        let interrupt = Interrupt::default();
        let task = interrupt.task_begins();
        assert!(!task.is_interrupted());
        assert!(interrupt.state().goes_on(Signal::SIGINT));
        assert!(task.is_interrupted());
        assert!(!interrupt.state().goes_on(Signal::SIGINT));
        let error = task.end(|| "cancelled".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "interrupted by SIGINT: cancelled");
    }

    #[test]
    fn without_a_task_a_signal_ends_the_tool() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.state().goes_on(Signal::SIGINT));
        let interrupt = Interrupt::default();
        drop(interrupt.task_begins());
        assert!(!interrupt.state().goes_on(Signal::SIGINT));
        let interrupt = Interrupt::default();
        interrupt.task_begins().end(|| unreachable!()).unwrap();
        assert!(!interrupt.state().goes_on(Signal::SIGINT));
    }

    #[test]
    fn what_was_made_is_removed() {
        let interrupt = Interrupt::default();
        let directory = tempfile::tempdir().unwrap();
        let (file, inner) = (directory.path().join("file"), directory.path().join("inner"));
        for path in [&file, &inner, &directory.path().join("gone")] {
            interrupt.making(|| Ok::<_, ()>(((), path.clone()))).unwrap();
        }
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("socket"), "").unwrap();
        interrupt.state().remove_leftovers();
        assert!(!file.exists() && !inner.exists() && directory.path().exists());
    }
}
