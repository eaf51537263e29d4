// SPDX-License-Identifier: Apache-2.0
//! What a dump shows, as plain data: the names of its fields are those of the JSON.

use std::collections::BTreeMap;
use std::io::Result;
use std::time::Duration;

use dmabuf_engine::{errno_text, ClientId, PoolStats, PressureWatch, UnclosedFiles};
use dmabuf_scheduler::ledger::{Amounts, Resource};
use dmabuf_scheduler::turns::Turns;
use serde::Serialize;

use super::shown::Shown;
use crate::calls::{CallStats, Calls};
use crate::clients::{ClientRecord, LastError};
use crate::process_usage::ProcessUsage;
use crate::requests::Requests;
use crate::tasks::{Tasks, WorkerStats};

/// The state of the service.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot {
    /// `None` where it is off.
    pub(super) pool: Option<PoolSnapshot>,
    pub(super) calls_panicked: u64,
    pub(super) log_lines_omitted: u64,
    pub(super) files_waiting_to_be_closed: u64,
    pub(super) files_never_closed: u64,
    pub(super) process: ProcessUsage,
    pub(super) large_requests: TurnSnapshot,
    pub(super) batches: TurnSnapshot,
    pub(super) workers: WorkerStats,
    pub(super) clients: Vec<ClientSnapshot>,
}

/// The pool.
#[derive(Debug, Serialize)]
pub(super) struct PoolSnapshot {
    pub(super) free_buffers: u64,
    pub(super) free_bytes: u64,
    pub(super) in_use_buffers: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) reclaimed: u64,
    pub(super) made_ahead: u64,
    pub(super) freed: u64,
    pub(super) zeroed_bytes: u64,
    pub(super) memory_pressure: String,
}

/// What waits for a turn, and what has had one for too long.
#[derive(Debug, Serialize)]
pub(super) struct TurnSnapshot {
    pub(super) waiting: usize,
    pub(super) overdue: usize,
}

impl TurnSnapshot {
    fn of(turns: &Turns) -> Self {
        Self { waiting: turns.waiting(), overdue: turns.overdue() }
    }
}

/// One client.
#[derive(Debug, Serialize)]
pub(super) struct ClientSnapshot {
    pub(super) uid: u32,
    /// By the name of the resource.
    pub(super) holds: BTreeMap<String, Held>,
    pub(super) requests_completed: u64,
    pub(super) calls_failed: u64,
    /// By the path; those that moved nothing are left out.
    pub(super) moved_bytes: BTreeMap<&'static str, u64>,
    pub(super) last_error: Option<ErrorSnapshot>,
}

/// What a client holds of a resource, and may hold: `None` for any amount.
#[derive(Debug, Serialize)]
pub(super) struct Held {
    pub(super) held: u64,
    pub(super) limit: Option<u64>,
}

/// A call that failed.
#[derive(Debug, Serialize)]
pub(super) struct ErrorSnapshot {
    pub(super) age_ms: u64,
    pub(super) method: &'static str,
    pub(super) code: i32,
    pub(super) message: String,
}

impl Snapshot {
    /// Asks all parts of the service.
    ///
    /// # Errors
    /// Those of procfs.
    pub(super) fn take(service: (&Requests, &Tasks, &Calls), shown: Shown) -> Result<Self> {
        let (requests, tasks, calls) = service;
        let CallStats { panics, omitted_lines } = calls.stats();
        let UnclosedFiles { waiting, lost } = requests.engine().unclosed_files();
        Ok(Self {
            pool: requests.engine().pool_stats().map(PoolSnapshot::of),
            calls_panicked: panics,
            log_lines_omitted: omitted_lines,
            files_waiting_to_be_closed: waiting as u64,
            files_never_closed: lost,
            process: ProcessUsage::now()?,
            large_requests: TurnSnapshot::of(requests.running()),
            batches: TurnSnapshot::of(requests.batches()),
            workers: tasks.worker_stats(),
            clients: clients(requests, calls, shown),
        })
    }
}

/// The clients that have called or hold something, by uid.
fn clients(requests: &Requests, calls: &Calls, shown: Shown) -> Vec<ClientSnapshot> {
    let mut clients: BTreeMap<u32, (Amounts, Option<ClientRecord>)> = BTreeMap::new();
    for (client, held) in requests.quota().usage().1 {
        clients.entry(client.0).or_default().0 = held;
    }
    for (client, record) in calls.clients().all() {
        clients.entry(client.0).or_default().1 = Some(record);
    }
    clients
        .into_iter()
        .filter(|(uid, _)| shown.contains(ClientId(*uid)))
        .map(|(uid, (held, record))| {
            let limits = requests.quota().limits(ClientId(uid));
            ClientSnapshot::of(uid, held, limits, record)
        })
        .collect()
}

impl ClientSnapshot {
    fn of(uid: u32, held: Amounts, limits: Amounts, record: Option<ClientRecord>) -> Self {
        let holds = Resource::COUNTED.map(|resource| {
            let limit = Some(limits.of(resource)).filter(|limit| *limit != u64::MAX);
            (resource.to_string(), Held { held: held.of(resource), limit })
        });
        let moved = record.iter().flat_map(|record| record.moved_bytes);
        let (completed, failed) =
            record.as_ref().map_or((0, 0), |record| (record.completed, record.failed));
        Self {
            uid,
            holds: BTreeMap::from(holds),
            requests_completed: completed,
            calls_failed: failed,
            moved_bytes: moved
                .filter(|(_, bytes)| *bytes > 0)
                .map(|(path, bytes)| (path.as_str(), bytes))
                .collect(),
            last_error: record.and_then(|record| record.last_error).map(ErrorSnapshot::of),
        }
    }
}

impl ErrorSnapshot {
    fn of(error: LastError) -> Self {
        let LastError { at, method, code, message } = error;
        let age: Duration = at.elapsed();
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self { age_ms, method, code, message }
    }
}

impl PoolSnapshot {
    pub(super) fn of(stats: PoolStats) -> Self {
        // Names every field, so that a new one that is not shown does not compile.
        let PoolStats {
            hits,
            misses,
            reclaimed,
            made,
            freed,
            zeroed_bytes,
            free,
            free_bytes,
            in_use,
            pressure,
        } = stats;
        let memory_pressure = match pressure {
            PressureWatch::Starting => "not watched yet".to_owned(),
            PressureWatch::Watched => "watched".to_owned(),
            PressureWatch::NotWatched(errno) => format!("not watched: {}", errno_text(errno)),
        };
        Self {
            free_buffers: free,
            free_bytes,
            in_use_buffers: in_use,
            hits,
            misses,
            reclaimed,
            made_ahead: made,
            freed,
            zeroed_bytes,
            memory_pressure,
        }
    }
}
