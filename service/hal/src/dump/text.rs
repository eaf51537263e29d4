// SPDX-License-Identifier: Apache-2.0
//! A dump for the eyes of whoever sits at a shell.

use std::io::{Result, Write};

use super::snapshot::{ClientSnapshot, ErrorSnapshot, PoolSnapshot, Snapshot, TurnSnapshot};
use crate::process_usage::ProcessUsage;
use crate::tasks::WorkerStats;

/// Writes a snapshot as text.
///
/// # Errors
/// Those of `writer`.
pub(super) fn write(snapshot: &Snapshot, writer: &mut dyn Write) -> Result<()> {
    match &snapshot.pool {
        None => writeln!(writer, "pool: off")?,
        Some(pool) => write_pool(pool, writer)?,
    }
    writeln!(writer, "calls that panicked: {}", snapshot.calls_panicked)?;
    let omitted = snapshot.log_lines_omitted;
    writeln!(writer, "log lines about refused calls that were omitted: {omitted}")?;
    write_unclosed(snapshot, writer)?;
    write_process(&snapshot.process, writer)?;
    write_requests(snapshot, writer)?;
    writeln!(writer, "clients: {}", snapshot.clients.len())?;
    snapshot.clients.iter().try_for_each(|client| write_client(client, writer))
}

fn write_pool(pool: &PoolSnapshot, writer: &mut dyn Write) -> Result<()> {
    writeln!(writer, "pool: on")?;
    writeln!(writer, "  free buffers: {}, {} bytes", pool.free_buffers, pool.free_bytes)?;
    writeln!(writer, "  buffers in use by clients: {}", pool.in_use_buffers)?;
    writeln!(writer, "  requests that found a buffer: {}", pool.hits)?;
    writeln!(writer, "  requests that did not: {}", pool.misses)?;
    writeln!(writer, "  buffers reclaimed from clients: {}", pool.reclaimed)?;
    writeln!(writer, "  buffers made ahead of requests: {}", pool.made_ahead)?;
    writeln!(writer, "  buffers freed: {}", pool.freed)?;
    writeln!(writer, "  zeroed off the request path: {} bytes", pool.zeroed_bytes)?;
    writeln!(writer, "  memory pressure: {}", pool.memory_pressure)
}

/// Writes nothing where there are none, as on a device whose policy keeps such files away.
fn write_unclosed(snapshot: &Snapshot, writer: &mut dyn Write) -> Result<()> {
    let (waiting, lost) = (snapshot.files_waiting_to_be_closed, snapshot.files_never_closed);
    if (waiting, lost) == (0, 0) {
        return Ok(());
    }
    writeln!(writer, "refused files whose servers do not answer:")?;
    writeln!(writer, "  waiting to be closed: {waiting}")?;
    writeln!(writer, "  open until the service ends: {lost}")
}

fn write_process(usage: &ProcessUsage, writer: &mut dyn Write) -> Result<()> {
    let ProcessUsage { pid, fds, threads, anonymous_kib, oom_score_adj } = usage;
    writeln!(writer, "process: {pid}")?;
    writeln!(writer, "  fds: {fds}")?;
    writeln!(writer, "  threads: {threads}")?;
    writeln!(writer, "  anonymous memory: {anonymous_kib} KiB")?;
    writeln!(writer, "  oom_score_adj: {oom_score_adj}")
}

fn write_requests(snapshot: &Snapshot, writer: &mut dyn Write) -> Result<()> {
    let WorkerStats { threads, running, queued } = snapshot.workers;
    writeln!(writer, "started requests: {running} run, {queued} wait, {threads} workers")?;
    let turns = [("large requests", &snapshot.large_requests), ("batches", &snapshot.batches)];
    turns.into_iter().try_for_each(|(what, TurnSnapshot { waiting, overdue })| {
        writeln!(writer, "{what}: {waiting} wait for their turn, {overdue} have it for too long")
    })
}

fn write_client(client: &ClientSnapshot, writer: &mut dyn Write) -> Result<()> {
    writeln!(writer, "  uid {}:", client.uid)?;
    for (resource, held) in &client.holds {
        let limit = held.limit.map_or_else(|| "any".to_owned(), |limit| limit.to_string());
        writeln!(writer, "    {resource}: {} of {limit}", held.held)?;
    }
    writeln!(writer, "    completed requests: {}", client.requests_completed)?;
    for (path, bytes) in &client.moved_bytes {
        writeln!(writer, "    {path}: {bytes} bytes")?;
    }
    writeln!(writer, "    failed calls: {}", client.calls_failed)?;
    let Some(ErrorSnapshot { age_ms, method, code, message }) = &client.last_error else {
        return Ok(());
    };
    writeln!(writer, "    last error: {age_ms} ms ago, {method} failed with {code}: {message}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dmabuf_engine::{PoolStats, PressureWatch};

    use super::super::snapshot::Held;
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> String {
        let mut text = Vec::new();
        write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn only_files_that_cannot_be_closed_are_shown() {
        let unclosed = |waiting, lost| {
            let snapshot = Snapshot {
                pool: None,
                calls_panicked: 0,
                log_lines_omitted: 0,
                files_waiting_to_be_closed: waiting,
                files_never_closed: lost,
                process: ProcessUsage::now().unwrap(),
                large_requests: TurnSnapshot { waiting: 0, overdue: 0 },
                batches: TurnSnapshot { waiting: 0, overdue: 0 },
                workers: WorkerStats::default(),
                clients: Vec::new(),
            };
            text(|writer| write_unclosed(&snapshot, writer))
        };
        assert_eq!(unclosed(0, 0), "");
        assert!(unclosed(1, 0).contains("waiting to be closed: 1\n"));
        assert!(unclosed(0, 3).ends_with("open until the service ends: 3\n"));
    }

    #[test]
    fn a_client_is_shown_with_its_limits_and_its_last_error() {
        let held = |held, limit| Held { held, limit };
        let client = ClientSnapshot {
            uid: 1047,
            holds: BTreeMap::from([
                ("open tasks".to_owned(), held(1, Some(128))),
                ("bytes in flight".to_owned(), held(0, None)),
            ]),
            requests_completed: 3,
            calls_failed: 2,
            moved_bytes: BTreeMap::from([("BOUNCE copied", 4096)]),
            last_error: Some(ErrorSnapshot {
                age_ms: 5,
                method: "load",
                code: 1,
                message: "files: none".to_owned(),
            }),
        };
        let expected = "  uid 1047:
    bytes in flight: 0 of any
    open tasks: 1 of 128
    completed requests: 3
    BOUNCE copied: 4096 bytes
    failed calls: 2
    last error: 5 ms ago, load failed with 1: files: none
";
        assert_eq!(text(|writer| write_client(&client, writer)), expected);
    }

    #[test]
    fn every_counter_of_the_pool_is_shown() {
        let stats = PoolStats {
            hits: 1,
            misses: 2,
            reclaimed: 3,
            made: 4,
            freed: 5,
            zeroed_bytes: 6,
            free: 7,
            free_bytes: 8,
            in_use: 9,
            pressure: PressureWatch::NotWatched(dmabuf_engine::Errno::ACCESS),
        };
        let expected = "\
pool: on
  free buffers: 7, 8 bytes
  buffers in use by clients: 9
  requests that found a buffer: 1
  requests that did not: 2
  buffers reclaimed from clients: 3
  buffers made ahead of requests: 4
  buffers freed: 5
  zeroed off the request path: 6 bytes
  memory pressure: not watched: errno=13 (Permission denied)
";
        assert_eq!(text(|writer| write_pool(&PoolSnapshot::of(stats), writer)), expected);
    }
}
