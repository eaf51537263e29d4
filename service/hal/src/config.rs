// SPDX-License-Identifier: Apache-2.0
//! The device's configuration of the service: a text file that is read once, at start.
//!
//! Each line sets one limit; `#` begins a comment.
//!
//! ```text
//! # WHOSE            WHAT             AMOUNT
//! default            queued-requests  32
//! default            in-flight-mib    512
//! uid 1047           in-flight-mib    2048
//! all                open-tasks       256
//! ```
//!
//! `default` is each client without a line of its own for that limit, `uid N` is one client, `all`
//! is the sum over all clients. WHAT is `queued-requests`, `open-tasks`, `blocking-calls` or
//! `in-flight-mib`, AMOUNT a number or `unlimited`.

use std::collections::HashMap;
use std::path::Path;

use dmabuf_engine::{ClientId, Engine};
use dmabuf_scheduler::ledger::{Amounts, Limits, Resource};
use thiserror::Error;

/// Where the service looks for the file.
pub const CONFIG_FILE: &str = "/vendor/etc/vendor.dmabuf.loader.conf";

/// Calls of all clients that may block a thread each, of [`MAX_THREADS`]. The other threads are for
/// calls that do not block, such as cancelling a task.
const MAX_BLOCKING_CALLS: u64 = 96;

/// Threads that serve calls, at most.
pub const MAX_THREADS: u32 = 112;

/// What the service permits where the device configures nothing: each client more than a
/// well-behaved one needs, and less than keeps the others from their share.
pub fn default_limits() -> Limits {
    let memory_bytes = Engine::memory_bytes();
    let limits = |queued, open, blocking, in_flight_bytes| {
        Amounts::UNLIMITED
            .with(Resource::BlockingCalls, blocking)
            .with(Resource::QueuedRequests, queued)
            .with(Resource::OpenTasks, open)
            .with(Resource::InFlightBytes, in_flight_bytes)
    };
    Limits {
        client: limits(64, 128, MAX_BLOCKING_CALLS / 3, memory_bytes),
        clients: Default::default(),
        all: limits(512, 1024, MAX_BLOCKING_CALLS, memory_bytes.saturating_mul(2)),
    }
}

/// The limits of the device: those of [`CONFIG_FILE`], else the defaults.
pub fn device_limits() -> Limits {
    read(Path::new(CONFIG_FILE), default_limits())
}

/// A line that says nothing.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line}: {problem}")]
struct ConfigError {
    /// Counted from 1.
    line: usize,
    problem: String,
}

/// Reads the limits of a file that may be missing. A file with an error counts as missing, and the
/// log says which line: a service with the default limits is better than none.
fn read(path: &Path, defaults: Limits) -> Limits {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                log::error!("{}: {error}; the default limits hold", path.display());
            }
            return defaults;
        }
    };
    match parse(&text, defaults.clone()) {
        Ok(limits) => limits,
        Err(error) => {
            log::error!("{}: {error}; the default limits hold", path.display());
            defaults
        }
    }
}

/// Whose limit a line sets.
enum Whose {
    Default,
    All,
    Uid(ClientId),
}

/// The limits that a file sets, on top of the defaults.
///
/// # Errors
/// The first line that is wrong.
fn parse(text: &str, defaults: Limits) -> Result<Limits, ConfigError> {
    let mut limits = defaults;
    let mut of_uids: HashMap<ClientId, Vec<(Resource, u64)>> = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = content.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let (whose, resource, amount) =
            setting(&words).map_err(|problem| ConfigError { line: index + 1, problem })?;
        match whose {
            Whose::Default => limits.client = limits.client.with(resource, amount),
            Whose::All => limits.all = limits.all.with(resource, amount),
            Whose::Uid(client) => of_uids.entry(client).or_default().push((resource, amount)),
        }
    }
    // Last, as each begins with what the file says of all.
    for (client, settings) in of_uids {
        let set = |limits: Amounts, (resource, amount)| limits.with(resource, amount);
        limits.clients.insert(client, settings.into_iter().fold(limits.client, set));
    }
    Ok(limits)
}

fn setting(words: &[&str]) -> Result<(Whose, Resource, u64), String> {
    let (whose, rest) = match words {
        ["default", rest @ ..] => (Whose::Default, rest),
        ["all", rest @ ..] => (Whose::All, rest),
        ["uid", uid, rest @ ..] => {
            let uid = uid.parse().map_err(|_| format!("{uid:?} is not a uid"))?;
            (Whose::Uid(ClientId(uid)), rest)
        }
        _ => return Err(format!("{words:?}, expected default, all or uid N first")),
    };
    let [what, amount] = rest else {
        return Err(format!("{rest:?}, expected a limit and its amount"));
    };
    let (resource, unit) = match *what {
        "queued-requests" => (Resource::QueuedRequests, 1),
        "open-tasks" => (Resource::OpenTasks, 1),
        "blocking-calls" => (Resource::BlockingCalls, 1),
        "in-flight-mib" => (Resource::InFlightBytes, 1 << 20),
        _ => {
            let known = "queued-requests, open-tasks, blocking-calls, in-flight-mib";
            return Err(format!("{what:?} is not a limit, expected one of {known}"));
        }
    };
    let amount = match *amount {
        "unlimited" => u64::MAX,
        number => number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .ok_or_else(|| format!("{number:?} is not an amount of {what}"))?,
    };
    Ok((whose, resource, amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Limits {
        let client = Amounts::UNLIMITED.with(Resource::OpenTasks, 7);
        Limits { client, clients: HashMap::new(), all: Amounts::UNLIMITED }
    }

    fn problem(text: &str) -> String {
        parse(text, defaults()).unwrap_err().to_string()
    }

    #[test]
    fn lines_set_limits_of_clients_and_of_all() {
        let text = "# comment\n\nuid 1047 in-flight-mib 2 # camera\ndefault queued-requests 3\n\
                    all open-tasks 9\nuid 1047 open-tasks unlimited\n";
        let limits = parse(text, defaults()).unwrap();
        assert_eq!(limits.client.of(Resource::QueuedRequests), 3);
        assert_eq!(limits.client.of(Resource::OpenTasks), 7);
        assert_eq!(limits.all.of(Resource::OpenTasks), 9);
        let camera = limits.of(ClientId(1047));
        assert_eq!(camera.of(Resource::InFlightBytes), 2 << 20);
        assert_eq!(camera.of(Resource::OpenTasks), u64::MAX);
        assert_eq!(camera.of(Resource::QueuedRequests), 3, "as every client");
        assert_eq!(limits.of(ClientId(1)).of(Resource::OpenTasks), 7);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, expected) in [
            ("all open-tasks 1\nqueued-requests 3", "line 2: [\"queued-requests\", \"3\"], expe"),
            ("uid camera open-tasks 1", "line 1: \"camera\" is not a uid"),
            ("\n\ndefault open-tasks", "line 3: [\"open-tasks\"], expected a limit and its amount"),
            ("default tasks 1", "line 1: \"tasks\" is not a limit, expected one of queued-"),
            ("default open-tasks -1", "line 1: \"-1\" is not an amount of open-tasks"),
            ("all in-flight-mib 99999999999999", "line 1: \"99999999999999\" is not an amount"),
        ] {
            assert!(problem(text).starts_with(expected), "{}", problem(text));
        }
    }

    #[test]
    fn a_file_with_an_error_leaves_the_defaults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "default open-tasks 1\nnonsense\n").unwrap();
        let limits = read(file.path(), defaults());
        assert_eq!(limits.client.of(Resource::OpenTasks), 7);
        std::fs::write(file.path(), "default open-tasks 1\n").unwrap();
        assert_eq!(read(file.path(), defaults()).client.of(Resource::OpenTasks), 1);
        let missing = read(Path::new("/nonexistent"), defaults());
        assert_eq!(missing.client.of(Resource::OpenTasks), 7);
    }
}
