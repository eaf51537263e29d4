// SPDX-License-Identifier: Apache-2.0
//! What `dumpsys` shows: a text, or with `--json` the same as JSON. Root, system, shell and the
//! service itself see every client, anybody else its own uid alone.

mod snapshot;
mod text;

use std::io::{Error, Result, Write};
use std::os::unix::fs::MetadataExt;

use dmabuf_engine::ClientId;

use crate::calls::Calls;
use crate::requests::Requests;
use crate::tasks::Tasks;

use snapshot::Snapshot;

/// AID_ROOT, AID_SYSTEM and AID_SHELL of AOSP's android_filesystem_config.h.
const PRIVILEGED: [u32; 3] = [0, 1000, 2000];

/// Which clients a dump shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    All,
    Only(ClientId),
}

impl Shown {
    /// What may be shown to the caller of `dump()`.
    pub(crate) fn to(caller_uid: u32) -> Self {
        let is_own = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == caller_uid);
        if PRIVILEGED.contains(&caller_uid) || is_own {
            Self::All
        } else {
            Self::Only(ClientId(caller_uid))
        }
    }

    fn contains(self, client: ClientId) -> bool {
        self == Self::All || self == Self::Only(client)
    }
}

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
