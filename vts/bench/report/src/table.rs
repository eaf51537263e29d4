// SPDX-License-Identifier: Apache-2.0
//! Formats the tables of a run: the table of the public series, with the paths of this project
//! below it.

use std::fmt::Write as _;

use vts_bench_record::{Case, Direction, Kind};

use crate::call_tree;
use crate::display::{clock, label, millions, unit};
use crate::figure::{range_ns, typical_ns, Clock, Phase};
use crate::published;
use crate::results::{Mode, Results, Series};

/// Storage rates are in decimal megabytes.
const MB: f64 = 1e6;

/// Formats every table of the run.
pub fn tables(results: &Results) -> String {
    let mut text = head(results);
    for (title, kinds, direction) in [
        ("Loads", [Kind::Seed, Kind::Engine, Kind::Binder, Kind::Raw].as_slice(), Direction::Load),
        ("Saves", &[Kind::Seed], Direction::Save),
        ("Buffers without I/O", &[Kind::Allocation], Direction::None),
    ] {
        let rows: Vec<&Series> =
            kinds.iter().flat_map(|kind| results.of(*kind, direction)).collect();
        if !rows.is_empty() {
            let _ = write!(
                text,
                "\n{title}, {}\n{}",
                unit(results),
                of_rows(results, &rows, direction)
            );
        }
    }
    text += &(calls(results) + &flatness(results) + &call_tree::trees(results));
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn head(results: &Results) -> String {
    let machine = &results.machine;
    format!(
        "{} kernel {}, {} processor(s), {} MiB; {} buffers of {} MiB, {} repetition(s)\n",
        results.flavour,
        machine.kernel,
        machine.cpus,
        machine.memory_bytes >> 20,
        machine.buffers,
        machine.buffer_bytes >> 20,
        machine.repetitions,
    )
}

fn of_rows(results: &Results, rows: &[&Series], direction: Direction) -> String {
    let clock = clock(results);
    let speed = results.mode == Mode::Speed;
    let width = rows.iter().map(|series| name(&series.case).chars().count()).max().unwrap_or(0);
    let mut text = format!(
        "{:>4} {:<width$} {:>9} {:>9} {:>9} {:>9}",
        "row", "method", "create", "close", "I/O", "total"
    );
    text += if speed { "      MB/s    range" } else { "" };
    text += "  % of row 1  published %\n";
    let first = rows.iter().find(|series| series.case.row == Some(1));
    let first = first.and_then(|series| millions(series, &[Phase::Io], clock));
    for series in rows {
        let number = series.case.row.map_or(String::new(), |row| row.to_string());
        let _ = write!(text, "{number:>4} {:<width$} ", name(&series.case));
        let Some(io_or_create) = millions(series, &Phase::ALL, clock) else {
            let reason = series.failed.as_ref().map(|reason| format!("FAILED: {reason}"));
            let reason = reason.or(series.not_possible.clone()).unwrap_or_default();
            let _ = writeln!(text, "not possible: {reason}");
            continue;
        };
        let cell = |phases: &[Phase]| {
            millions(series, phases, clock).map_or("-".to_owned(), |value| format!("{value:.1}"))
        };
        let _ = write!(
            text,
            "{:>9} {:>9} {:>9} {io_or_create:>9.1}",
            cell(&[Phase::Create]),
            cell(&[Phase::Close]),
            cell(&[Phase::Io]),
        );
        let io = millions(series, &[Phase::Io], clock);
        if speed {
            let _ = write!(text, " {:>9} {:>8}", rate(io), range(series));
        }
        let percent = io.zip(first).map(|(io, first)| format!("{:.0}", 100.0 * first / io));
        let published = series
            .case
            .row
            .and_then(|row| published::find(direction, row)?.percent_of_first(direction))
            .map(|percent| format!("{percent:.0}"));
        let _ = writeln!(
            text,
            "{:>12} {:>12}",
            percent.unwrap_or_default(),
            published.unwrap_or_default()
        );
    }
    text
}

/// Returns the label with a prefix for its kind.
fn name(case: &Case) -> String {
    let prefix = match case.kind {
        Kind::Engine => "engine: ",
        Kind::Binder => "service: ",
        Kind::Raw => "raw: ",
        _ => "",
    };
    format!("{prefix}{}", label(case))
}

fn rate(io_ms_per_gib: Option<f64>) -> String {
    let megabytes = (1_u64 << 30) as f64 / MB;
    io_ms_per_gib.map_or("-".to_owned(), |ms| format!("{:.0}", megabytes * 1e3 / ms))
}

fn range(series: &Series) -> String {
    match range_ns(series, Phase::Io, Clock::Wall) {
        Some((smallest, largest)) if smallest > 0.0 => {
            format!("{:.0} %", 100.0 * (largest / smallest - 1.0))
        }
        _ => "-".to_owned(),
    }
}

fn calls(results: &Results) -> String {
    let clock = clock(results);
    let mut text = String::new();
    for series in results.measurements.iter().filter(|series| series.case.kind == Kind::Call) {
        if text.is_empty() {
            let unit = if clock == Clock::Wall { "microseconds" } else { "thousand instructions" };
            let _ = write!(text, "\nCalls over binder, {unit} each\n");
        }
        let each = typical_ns(series, &Phase::ALL, clock)
            .map(|ns| format!("{:.1}", ns / series.case.operations as f64 / 1e3))
            .unwrap_or_else(|| series.not_possible.clone().unwrap_or_default());
        let _ = writeln!(text, "{:>9}  {}", each, series.case.method);
    }
    text
}

fn flatness(results: &Results) -> String {
    let clock = clock(results);
    let mut text = String::new();
    for kind in [Kind::LiveBuffers, Kind::FileSize] {
        for series in results.of(kind, Direction::Load) {
            if text.is_empty() {
                let _ = write!(
                    text,
                    "\nI/O by number of live buffers and by size of file, {}\n",
                    unit(results)
                );
            }
            let io = millions(series, &[Phase::Io], clock)
                .map(|value| format!("{value:.2}"))
                .unwrap_or_else(|| series.not_possible.clone().unwrap_or_default());
            let _ = writeln!(text, "{io:>9}  {}", name(&series.case));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::{results, series};

    #[test]
    fn a_row_has_its_phases_and_its_percentage() {
        let mut first =
            series(Kind::Seed, "dmabuf buffer R/W", 1_300_000_000, 1_800_000_000, 28_000_000);
        first.case.row = Some(1);
        let mut ours =
            series(Kind::Engine, "system COPY_FILE_RANGE", 1_300_000_000, 6_000_000, 28_000_000);
        ours.case.parameters.insert("buffer_bytes".to_owned(), 32 << 20);
        let mut refused = series(Kind::Seed, "memfd buffer c_f_r", 0, 0, 0);
        refused.samples.clear();
        refused.not_possible = Some("errno=18".to_owned());
        let text = tables(&results(vec![first, ours, refused]));
        let line = |start: &str| {
            let found = text.lines().find(|line| line.contains(start));
            found.unwrap_or_default().split_whitespace().collect::<Vec<&str>>().join(" ")
        };
        assert_eq!(
            line("dmabuf buffer R/W"),
            "1 dmabuf buffer R/W 1300.0 28.0 1800.0 3128.0 100 100"
        );
        assert_eq!(
            line("engine:"),
            "engine: system COPY_FILE_RANGE, buffer 32 MiB 1300.0 28.0 6.0 1334.0 30000"
        );
        assert_eq!(line("memfd buffer"), "memfd buffer c_f_r not possible: errno=18");
    }

    #[test]
    fn calls_have_the_cost_of_one() {
        let mut call = series(Kind::Call, "empty call", 0, 0, 0);
        call.samples = series(Kind::Call, "x", 0, 640_000, 0).samples;
        let text = tables(&results(vec![call]));
        assert!(
            text.contains(
                "\nCalls over binder, thousand instructions each\n     20.0  empty call\n"
            ),
            "{text}"
        );
    }
}
