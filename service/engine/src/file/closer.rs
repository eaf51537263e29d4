// SPDX-License-Identifier: Apache-2.0
//! Closes fds whose `close(2)` may wait for a server, on threads that have nothing else to do.
//!
//! `close(2)` on a FUSE file waits for the server's answer to `FUSE_FLUSH`, which no signal ends,
//! not even SIGKILL: the process of such a thread ends when the server answers or the connection
//! does. So the threads are few, and what they do not get to stays open; the kernel closes that
//! when the process ends, and from Linux 6.2 on it then waits for no answer.

use std::collections::VecDeque;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Threads, at most: what servers that do not answer can hold.
const MAX_THREADS: usize = 2;

/// Fds that wait for a thread, at most. What is more is given up and stays open.
const MAX_WAITING: usize = 64;

/// Files that the engine has refused and not closed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnclosedFiles {
    /// Being closed, or waiting for that.
    pub waiting: usize,
    /// Given up: they stay open until the process ends.
    pub lost: u64,
}

/// A few threads that close fds and end when there are none left.
#[derive(Debug, Default)]
pub(super) struct Closer(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<OwnedFd>,
    threads: usize,
    lost: u64,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Closer {
    /// Has an fd closed, and does not wait for it.
    pub(super) fn close(&self, fd: OwnedFd) {
        let mut state = lock(&self.0);
        if state.waiting.len() == MAX_WAITING {
            // Only an fd that is not dropped stays open.
            let _stays_open = fd.into_raw_fd();
            state.lost += 1;
            if state.lost.is_power_of_two() {
                log::error!("{} files cannot be closed: their servers do not answer", state.lost);
            }
            return;
        }
        state.waiting.push_back(fd);
        if state.threads < MAX_THREADS {
            let shared = Arc::clone(&self.0);
            let closer = thread::Builder::new().name("close".to_owned());
            // Without a thread now, the next fd brings one.
            if closer.spawn(move || close_all(&shared)).is_ok() {
                state.threads += 1;
            }
        }
    }

    pub(super) fn unclosed(&self) -> UnclosedFiles {
        let state = lock(&self.0);
        UnclosedFiles { waiting: state.waiting.len() + state.threads, lost: state.lost }
    }
}

fn close_all(state: &Mutex<State>) {
    loop {
        let mut locked = lock(state);
        let Some(fd) = locked.waiting.pop_front() else {
            locked.threads -= 1;
            return;
        };
        drop(locked);
        drop(fd);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read};
    use std::time::{Duration, Instant};

    use super::*;

    fn wait_until_closed(mut reader: PipeReader) {
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "the writer is closed");
    }

    #[test]
    fn an_fd_is_closed_by_another_thread_that_ends() {
        let closer = Closer::default();
        let (reader, writer) = std::io::pipe().unwrap();
        closer.close(writer.into());
        wait_until_closed(reader);
        let deadline = Instant::now() + Duration::from_secs(10);
        while closer.unclosed() != UnclosedFiles::default() {
            assert!(Instant::now() < deadline, "{:?}", closer.unclosed());
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_finds_no_place_stays_open() {
        let closer = Closer::default();
        // Stands for threads whose servers do not answer.
        lock(&closer.0).threads = MAX_THREADS;
        let fd = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        (0..MAX_WAITING).for_each(|_| closer.close(fd()));
        let full = UnclosedFiles { waiting: MAX_WAITING + MAX_THREADS, lost: 0 };
        assert_eq!(closer.unclosed(), full);
        let (reader, writer) = std::io::pipe().unwrap();
        closer.close(writer.into());
        assert_eq!(closer.unclosed(), UnclosedFiles { lost: 1, ..full });
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let mut reader = reader;
        let read = reader.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(read, Err(std::io::ErrorKind::WouldBlock), "the writer is open");
    }
}
