// SPDX-License-Identifier: Apache-2.0
//! Reaping: every process without a parent becomes init's child.

use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};

use crate::message::{Ended, Message};

/// Held while a process is started: if that fails, the standard library waits for the child itself.
static SPAWNING: Mutex<()> = Mutex::new(());

/// Keeps the reaper from taking any child until the guard is dropped.
pub fn pause() -> MutexGuard<'static, ()> {
    SPAWNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the reaper. Call it before any other thread is started, so that all block SIGCHLD.
pub fn start(messages: SyncSender<Message>) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().context("blocking SIGCHLD")?;
    std::thread::Builder::new()
        .name("reaper".into())
        .spawn(move || loop {
            // An error here means a signal other than SIGCHLD: look for children all the same.
            let _ = signals.wait();
            for (pid, ended) in reap() {
                // The receiver lives as long as init.
                let _ = messages.send(Message::Ended { pid, ended });
            }
        })
        .context("starting the reaper")?;
    Ok(())
}

/// Takes every child that has ended. Nothing is sent from here: the queue may be full, and init may
/// be waiting for the lock.
fn reap() -> Vec<(u32, Ended)> {
    let _no_spawning = pause();
    let mut all = Vec::new();
    loop {
        let (pid, ended) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Ended { code: Some(code), signal: None }),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                (pid, Ended { code: None, signal: Some(signal as i32) })
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return all,
            Ok(_) => continue,
        };
        all.push((pid.as_raw().unsigned_abs(), ended));
    }
}
