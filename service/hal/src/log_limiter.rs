// SPDX-License-Identifier: Apache-2.0
//! A log that no client can fill: so many lines for each uid and period, then only their number.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines for one uid and period, the line about omitted ones apart.
const MAX_LINES: u32 = 10;

const PERIOD: Duration = Duration::from_secs(10);

/// Uids that the limiter remembers. Of more uids it forgets the one whose period is the oldest.
const MAX_UIDS: usize = 64;

/// Limits the lines about the calls of each uid.
#[derive(Debug, Default)]
pub struct LogLimiter {
    clients: Mutex<Vec<Client>>,
    omitted: AtomicU64,
}

#[derive(Debug)]
struct Client {
    uid: u32,
    since: Instant,
    lines: u32,
    omitted: u64,
}

impl LogLimiter {
    /// Logs a line about a call of `uid`, unless the uid has had its lines. The first line of its
    /// next period follows one that gives the number of omitted lines.
    pub fn log(&self, level: log::Level, uid: u32, line: fmt::Arguments<'_>) {
        if let Some(omitted) = self.admit(uid, Instant::now()) {
            if omitted > 0 {
                log::log!(level, "{omitted} lines about calls of uid {uid} were omitted");
            }
            log::log!(level, "{line}");
        }
    }

    /// How many lines were omitted since the service started.
    pub fn omitted(&self) -> u64 {
        self.omitted.load(Ordering::Relaxed)
    }

    /// Whether a line may be logged: `Some` with the number of lines that were omitted before it.
    fn admit(&self, uid: u32, now: Instant) -> Option<u64> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clients.iter_mut().find(|client| client.uid == uid);
        let Some(client) = known else {
            if clients.len() >= MAX_UIDS {
                let oldest = clients.iter().enumerate().min_by_key(|(_, client)| client.since);
                if let Some((oldest, _)) = oldest {
                    clients.swap_remove(oldest);
                }
            }
            clients.push(Client { uid, since: now, lines: 1, omitted: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(client.since) >= PERIOD {
            let omitted = client.omitted;
            *client = Client { uid, since: now, lines: 1, omitted: 0 };
            return Some(omitted);
        }
        if client.lines < MAX_LINES {
            client.lines += 1;
            return Some(0);
        }
        client.omitted = client.omitted.saturating_add(1);
        self.omitted.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_becomes_their_number() {
        let limiter = LogLimiter::default();
        let begin = Instant::now();
        let admitted = (0..10_000).filter(|_| limiter.admit(1, begin).is_some()).count();
        assert_eq!(admitted, MAX_LINES as usize);
        assert_eq!(limiter.omitted(), 9_990);
        assert_eq!(limiter.admit(2, begin), Some(0), "another uid has its own lines");
        assert_eq!(limiter.admit(1, begin + PERIOD), Some(9_990));
        assert_eq!(limiter.admit(1, begin + PERIOD), Some(0));
    }

    #[test]
    fn the_table_of_uids_is_bounded() {
        let limiter = LogLimiter::default();
        let begin = Instant::now();
        for uid in 0..10_000 {
            let now = begin + Duration::from_millis(uid.into());
            assert_eq!(limiter.admit(uid, now), Some(0));
        }
        let clients = limiter.clients.lock().unwrap();
        assert_eq!(clients.len(), MAX_UIDS);
        assert!(clients.iter().all(|client| client.uid >= 10_000 - MAX_UIDS as u32));
    }
}
