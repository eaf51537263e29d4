// SPDX-License-Identifier: Apache-2.0
//! What the requests of each client have done so far, for `dump()` and `getUsage()`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dmabuf_engine::{ClientId, IoPath, Report};

/// The most clients that are remembered. A further one displaces the client whose last call is the
/// oldest.
const MAX_CLIENTS: usize = 256;

/// Of a message that is kept, so many characters.
const MAX_MESSAGE_CHARS: usize = 256;

/// What the requests of one client have done.
#[derive(Clone, Debug)]
pub struct ClientRecord {
    /// Loads and saves that succeeded.
    pub completed: u64,
    /// Calls that failed, of any method.
    pub failed: u64,
    /// Bytes that each path has moved.
    pub moved_bytes: [(IoPath, u64); IoPath::CHEAPEST_FIRST.len()],
    /// The last call that failed.
    pub last_error: Option<LastError>,
    /// How many calls of all clients had been counted by its last one.
    last_seen: u64,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct LastError {
    /// When.
    pub at: Instant,
    /// The method of the interface.
    pub method: &'static str,
    /// The code of LoaderError.
    pub code: i32,
    /// The beginning of the message.
    pub message: String,
}

impl ClientRecord {
    fn new(last_seen: u64) -> Self {
        Self {
            completed: 0,
            failed: 0,
            moved_bytes: IoPath::CHEAPEST_FIRST.map(|path| (path, 0)),
            last_error: None,
            last_seen,
        }
    }
}

/// The records of all clients.
#[derive(Debug, Default)]
pub struct Clients(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    /// Few, so that looking for one takes less than hashing.
    of_clients: Vec<(ClientId, ClientRecord)>,
    calls: u64,
}

impl Records {
    /// The record of a client, for a call that is counted now.
    fn of(&mut self, client: ClientId) -> &mut ClientRecord {
        self.calls += 1;
        let known = self.of_clients.iter().position(|(other, _)| *other == client);
        let place = known.unwrap_or_else(|| self.add(client));
        let record = &mut self.of_clients[place].1;
        record.last_seen = self.calls;
        record
    }

    fn add(&mut self, client: ClientId) -> usize {
        if self.of_clients.len() >= MAX_CLIENTS {
            let records = self.of_clients.iter().enumerate();
            let oldest = records.min_by_key(|(_, (_, record))| record.last_seen);
            if let Some((oldest, _)) = oldest {
                self.of_clients.swap_remove(oldest);
            }
        }
        self.of_clients.push((client, ClientRecord::new(self.calls)));
        self.of_clients.len() - 1
    }
}

impl Clients {
    /// Counts a load or a save that succeeded.
    pub(crate) fn completed(&self, client: ClientId, report: &Report) {
        let mut records = self.records();
        let record = records.of(client);
        record.completed += 1;
        for (path, bytes) in report.moved_bytes() {
            let sum = record.moved_bytes.iter_mut().find(|(other, _)| other == path);
            if let Some((_, sum)) = sum {
                *sum = sum.saturating_add(*bytes);
            }
        }
    }

    /// Counts a call that failed.
    pub(crate) fn failed(&self, client: ClientId, method: &'static str, code: i32, message: &str) {
        let message = message.chars().take(MAX_MESSAGE_CHARS).collect();
        let error = LastError { at: Instant::now(), method, code, message };
        let mut records = self.records();
        let record = records.of(client);
        record.failed += 1;
        record.last_error = Some(error);
    }

    /// The record of one client.
    pub(crate) fn of(&self, client: ClientId) -> Option<ClientRecord> {
        let records = self.records();
        let found = records.of_clients.iter().find(|(other, _)| *other == client);
        found.map(|(_, record)| record.clone())
    }

    /// The clients that are remembered, by uid.
    pub(crate) fn all(&self) -> Vec<(ClientId, ClientRecord)> {
        let mut all = self.records().of_clients.clone();
        all.sort_unstable_by_key(|(client, _)| client.0);
        all
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_client_is_kept() {
        let clients = Clients::default();
        clients.failed(ClientId(1), "load", 1, "first");
        clients.failed(ClientId(1), "save", 2, &"ü".repeat(1000));
        clients.failed(ClientId(2), "load", 3, "other");
        let record = clients.of(ClientId(1)).unwrap();
        assert_eq!((record.failed, record.completed), (2, 0));
        let error = record.last_error.unwrap();
        assert_eq!((error.method, error.code), ("save", 2));
        assert_eq!(error.message, "ü".repeat(MAX_MESSAGE_CHARS));
        assert_eq!(clients.all().len(), 2);
        assert!(clients.of(ClientId(3)).is_none());
    }

    #[test]
    fn who_has_asked_for_nothing_for_longest_is_forgotten() {
        let clients = Clients::default();
        for uid in 0..=MAX_CLIENTS as u32 {
            clients.failed(ClientId(uid), "load", 1, "");
        }
        assert!(clients.of(ClientId(0)).is_none());
        assert_eq!(clients.all().len(), MAX_CLIENTS);
    }
}
