// SPDX-License-Identifier: Apache-2.0
//! What `dumpsys` shows: a text, or with `--json` the same as JSON. Root, system, shell and the
//! service itself see every client, anybody else its own uid alone.

mod shown;
mod snapshot;
mod text;

use std::io::{Error, Result, Write};

use crate::calls::Calls;
use crate::requests::Requests;
use crate::tasks::Tasks;

pub(crate) use shown::Shown;
use snapshot::Snapshot;

/// Writes the state and the counters of the service, as the arguments of `dumpsys` say.
///
/// # Errors
/// Those of `writer` and of procfs. An argument that is not known is named in the text.
pub(crate) fn write<'a>(
    service: (&Requests, &Tasks, &Calls),
    shown: Shown,
    arguments: impl Iterator<Item = &'a str>,
    writer: &mut dyn Write,
) -> Result<()> {
    let mut json = false;
    for argument in arguments {
        match argument {
            "--json" => json = true,
            // AOSP's dumpstate passes it to every service.
            "-a" => {}
            other => {
                let other = other.escape_default();
                return writeln!(writer, "\"{other}\" is not known, expected --json or nothing");
            }
        }
    }
    let snapshot = Snapshot::take(service, shown)?;
    if json {
        serde_json::to_writer(&mut *writer, &snapshot).map_err(Error::from)?;
        writeln!(writer)
    } else {
        text::write(&snapshot, writer)
    }
}
