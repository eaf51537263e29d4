// SPDX-License-Identifier: Apache-2.0
//! The `dumpsys` text of the service: totals of the pool, of the calls and of the process, nothing
//! about single clients.

use std::io::{Result, Write};

use dmabuf_engine::{errno_text, Engine, PoolStats, PressureWatch, UnclosedFiles};

use crate::calls::CallStats;
use crate::process_usage::ProcessUsage;

/// Writes the state and the counters of the engine and of the calls as text.
///
/// # Errors
/// The errors of `writer`.
pub fn write(engine: &Engine, calls: CallStats, writer: &mut dyn Write) -> Result<()> {
    match engine.pool_stats() {
        None => writeln!(writer, "pool: off")?,
        Some(stats) => write_pool(&stats, writer)?,
    }
    write_calls(calls, writer)?;
    write_unclosed(engine.unclosed_files(), writer)?;
    write_process(ProcessUsage::now()?, writer)
}

fn write_process(usage: ProcessUsage, writer: &mut dyn Write) -> Result<()> {
    let ProcessUsage { pid, fds, threads, anonymous_kib, oom_score_adj } = usage;
    writeln!(writer, "process: {pid}")?;
    writeln!(writer, "  fds: {fds}")?;
    writeln!(writer, "  threads: {threads}")?;
    writeln!(writer, "  anonymous memory: {anonymous_kib} KiB")?;
    writeln!(writer, "  oom_score_adj: {oom_score_adj}")
}

fn write_calls(calls: CallStats, writer: &mut dyn Write) -> Result<()> {
    let CallStats { panics, omitted_lines } = calls;
    writeln!(writer, "calls that panicked: {panics}")?;
    writeln!(writer, "log lines about refused calls that were omitted: {omitted_lines}")
}

/// Writes nothing where there are none, as on a device whose policy keeps such files away.
fn write_unclosed(unclosed: UnclosedFiles, writer: &mut dyn Write) -> Result<()> {
    let UnclosedFiles { waiting, lost } = unclosed;
    if unclosed == UnclosedFiles::default() {
        return Ok(());
    }
    writeln!(writer, "refused files whose servers do not answer:")?;
    writeln!(writer, "  waiting to be closed: {waiting}")?;
    writeln!(writer, "  open until the service ends: {lost}")
}

fn write_pool(stats: &PoolStats, writer: &mut dyn Write) -> Result<()> {
    // Names every field, so that a new one that is not written does not compile.
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
    writeln!(writer, "pool: on")?;
    writeln!(writer, "  free buffers: {free}, {free_bytes} bytes")?;
    writeln!(writer, "  buffers in use by clients: {in_use}")?;
    writeln!(writer, "  requests that found a buffer: {hits}")?;
    writeln!(writer, "  requests that did not: {misses}")?;
    writeln!(writer, "  buffers reclaimed from clients: {reclaimed}")?;
    writeln!(writer, "  buffers made ahead of requests: {made}")?;
    writeln!(writer, "  buffers freed: {freed}")?;
    writeln!(writer, "  zeroed off the request path: {zeroed_bytes} bytes")?;
    match pressure {
        PressureWatch::Starting => writeln!(writer, "  memory pressure: not watched yet"),
        PressureWatch::Watched => writeln!(writer, "  memory pressure: watched"),
        PressureWatch::NotWatched(errno) => {
            writeln!(writer, "  memory pressure: not watched: {}", errno_text(*errno))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_cannot_be_closed_are_shown() {
        let text = |waiting, lost| {
            let mut text = Vec::new();
            write_unclosed(UnclosedFiles { waiting, lost }, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!(text(0, 0), "");
        assert!(text(1, 0).contains("waiting to be closed: 1\n"));
        assert!(text(0, 3).ends_with("open until the service ends: 3\n"));
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
        let mut text = Vec::new();
        write_pool(&stats, &mut text).unwrap();
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
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
