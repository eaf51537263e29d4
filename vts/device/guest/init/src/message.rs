// SPDX-License-Identifier: Apache-2.0
//! What the threads of init tell the supervisor, and the queue in which it waits.

use std::fmt;
use std::sync::mpsc::{self, Receiver, SyncSender};

use vts_init::report::Stream;

/// How many messages may wait; a thread that has more to tell waits, too.
const QUEUE_LENGTH: usize = 1024;

/// A message.
#[derive(Debug)]
pub enum Message {
    /// A program printed a line.
    Line { source: Source, stream: Stream, text: String },
    /// No process has this output open any more.
    Closed { source: Source },
    /// A process ended.
    Ended { pid: u32, ended: Ended },
    /// A record of the kernel log.
    Kernel(String),
    /// A thread cannot go on.
    Fatal(String),
}

/// The program that printed a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The service with this index.
    Service(usize),
    /// The step with this index.
    Step(usize),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Exit status, if it exited.
    pub code: Option<i32>,
    /// Signal number, if a signal ended it.
    pub signal: Option<i32>,
}

/// The end of a sentence whose subject is the process.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.signal {
            Some(signal) => write!(f, "was ended by signal {signal}"),
            None => write!(f, "exited with status {}", self.code.unwrap_or_default()),
        }
    }
}

/// Makes the queue.
pub fn queue() -> (SyncSender<Message>, Receiver<Message>) {
    mpsc::sync_channel(QUEUE_LENGTH)
}
