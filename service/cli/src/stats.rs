// SPDX-License-Identifier: Apache-2.0
//! `dmabufload stats` and `dmabufload watch`: the state of the service, by its `dumpsys` text.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Context};
use binder::binder_impl::IBinderInternal as _;
use binder::StatusCode;
use nix::unistd::pipe;

use crate::args::{ServiceArgs, WatchArgs};
use crate::connect::{connect, Connection, BINDER};
use crate::interrupt::Interrupt;

/// Prints the state once.
pub fn stats(service: &ServiceArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let connection = connect(service, interrupt)?;
    print!("{}", Table::of(&dump(&connection)?).text(None));
    Ok(())
}

/// Prints the state again and again, with what has changed, until a signal ends the tool.
pub fn watch(service: &ServiceArgs, interrupt: &Interrupt, args: &WatchArgs) -> anyhow::Result<()> {
    let connection = connect(service, interrupt)?;
    let begun = Instant::now();
    let mut before: Option<Table> = None;
    loop {
        let now = Table::of(&dump(&connection)?);
        println!("after {:.1} s:", begun.elapsed().as_secs_f64());
        println!("{}", now.text(before.as_ref()));
        before = Some(now);
        thread::sleep(Duration::from_secs(args.seconds));
    }
}

fn dump(connection: &Connection) -> anyhow::Result<String> {
    ensure!(
        connection.service == BINDER,
        "the service is {}: only a registered one tells its state",
        connection.service
    );
    let mut service = (**connection.loader.service()).as_binder();
    piped(|pipe| service.dump(pipe, &[])).context("the dump of the service")
}

/// What `write` writes into a pipe, which may be more than a pipe holds.
fn piped(write: impl FnOnce(&OwnedFd) -> Result<(), StatusCode>) -> anyhow::Result<String> {
    let (read_end, write_end) = pipe()?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut bytes = Vec::new();
            File::from(read_end).read_to_end(&mut bytes).map(|_| bytes)
        });
        let written = write(&write_end);
        // The reader ends when nobody else can write.
        drop(write_end);
        let bytes = reader.join().map_err(|_| anyhow!("the reader of the pipe has panicked"))?;
        written.map_err(|status| anyhow!("{status:?}"))?;
        Ok(String::from_utf8_lossy(&bytes?).into_owned())
    })
}

/// Lines of a text, each with a name and a value where it has both.
#[derive(Debug, PartialEq, Eq)]
struct Table(Vec<(String, String)>);

impl Table {
    fn of(text: &str) -> Self {
        let row = |line: &str| match line.split_once(": ") {
            Some((name, value)) => (name.to_owned(), value.trim().to_owned()),
            None => (line.trim_end().to_owned(), String::new()),
        };
        Self(text.lines().map(row).collect())
    }

    /// The table as text, with what has changed since an earlier one.
    fn text(&self, before: Option<&Self>) -> String {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let line = |(index, (name, value)): (usize, &(String, String))| {
            let row = before.and_then(|before| before.0.get(index));
            let change = row.filter(|row| row.0 == *name).and_then(|row| change(&row.1, value));
            let change = change.map_or(String::new(), |change| format!("  ({change:+})"));
            let line = format!("{name:width$}  {value}{change}");
            format!("{}\n", line.trim_end())
        };
        self.0.iter().enumerate().map(line).collect()
    }
}

/// How much more the first number of a value is; `None` for nothing.
fn change(before: &str, now: &str) -> Option<i128> {
    let number = |value: &str| {
        let digits = value.split(|letter: char| !letter.is_ascii_digit()).next()?;
        digits.parse::<i128>().ok()
    };
    let change = number(now)?.checked_sub(number(before)?)?;
    (change != 0).then_some(change)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_dump_may_be_longer_than_a_pipe_holds() {
        let long = "counter: 1\n".repeat(100_000);
        let write = |pipe: &OwnedFd| {
            let mut file = File::from(pipe.try_clone().unwrap());
            file.write_all(long.as_bytes()).unwrap();
            Ok(())
        };
        assert_eq!(piped(write).unwrap(), long);
    }

    #[test]
    fn a_failed_dump_is_an_error() {
        let error = piped(|_| Err(StatusCode::from(-1))).unwrap_err();
        assert!(!error.to_string().is_empty());
    }

    #[test]
    fn names_and_values_are_columns() {
        let table = Table::of("pool: on\n  free buffers: 7, 8 bytes\nrefused files:\n");
        let expected = "\
pool            on
  free buffers  7, 8 bytes
refused files:
";
        assert_eq!(table.text(None), expected);
        assert_eq!(table.text(Some(&table)), expected);
    }

    #[test]
    fn changes_are_shown_by_name() {
        let before = Table::of("hits: 10\nfree: 5, 20 bytes\nwatched: no\n");
        let now = Table::of("hits: 12\nfree: 4, 16 bytes\nwatched: yes\n");
        let expected = "hits     12  (+2)\nfree     4, 16 bytes  (-1)\nwatched  yes\n";
        assert_eq!(now.text(Some(&before)), expected);
        // Rows that came or went have nothing to be compared with.
        let other = Table::of("misses: 1\n");
        assert_eq!(now.text(Some(&other)), now.text(None));
    }
}
