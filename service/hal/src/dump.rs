// SPDX-License-Identifier: Apache-2.0
//! What `dumpsys` shows of the service: figures of the whole, nothing of a client's.

use std::io::{Result, Write};

use dmabuf_engine::pool::PoolStats;
use dmabuf_engine::Engine;

/// Writes what the engine has and has done, for humans.
///
/// # Errors
/// Those of `writer`.
pub fn write(engine: &Engine, writer: &mut dyn Write) -> Result<()> {
    match engine.pool_stats() {
        None => writeln!(writer, "pool: off"),
        Some(stats) => write_pool(&stats, writer),
    }
}

fn write_pool(stats: &PoolStats, writer: &mut dyn Write) -> Result<()> {
    // Each field by name: a new one that nobody shows does not compile.
    let PoolStats {
        hits,
        misses,
        returned,
        made,
        given_back,
        cleared_bytes,
        ready,
        ready_bytes,
        lent,
    } = stats;
    writeln!(writer, "pool: on")?;
    writeln!(writer, "  buffers ready: {ready}, {ready_bytes} bytes")?;
    writeln!(writer, "  buffers with clients: {lent}")?;
    writeln!(writer, "  requests that found a buffer: {hits}")?;
    writeln!(writer, "  requests that did not: {misses}")?;
    writeln!(writer, "  buffers that came back: {returned}")?;
    writeln!(writer, "  buffers made ahead of requests: {made}")?;
    writeln!(writer, "  buffers given back to the kernel: {given_back}")?;
    writeln!(writer, "  cleared off the request path: {cleared_bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_the_pool_is_shown() {
        let stats = PoolStats {
            hits: 1,
            misses: 2,
            returned: 3,
            made: 4,
            given_back: 5,
            cleared_bytes: 6,
            ready: 7,
            ready_bytes: 8,
            lent: 9,
        };
        let mut text = Vec::new();
        write_pool(&stats, &mut text).unwrap();
        let expected = "\
pool: on
  buffers ready: 7, 8 bytes
  buffers with clients: 9
  requests that found a buffer: 1
  requests that did not: 2
  buffers that came back: 3
  buffers made ahead of requests: 4
  buffers given back to the kernel: 5
  cleared off the request path: 6 bytes
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
