// SPDX-License-Identifier: Apache-2.0
//! The summary chart of two runs that count instructions, one for each kernel: the cost of each
//! path.

use anyhow::{anyhow, ensure, Result};
use plotters::style::RGBColor;
use vts_bench_record::Kind;

use super::bars::{Bar, BarChart, Group, Key, Scale};
use crate::figure::{Clock, Figure, Phase, Selector};
use crate::results::{Mode, Results};

const TODAY: RGBColor = RGBColor(0x99, 0x99, 0x99);
const OURS: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const LIMIT: RGBColor = RGBColor(0x00, 0x9e, 0x73);

struct Row {
    label: &'static str,
    kind: Kind,
    method: &'static str,
    colour: RGBColor,
}

const fn row(label: &'static str, kind: Kind, method: &'static str, colour: RGBColor) -> Row {
    Row { label, kind, method, colour }
}

const READ: Row =
    row("system heap, read(2) through the page cache", Kind::Seed, "dmabuf buffer R/W", TODAY);
const RIVAL: Row = row("udmabuf + memfd, direct read(2)", Kind::Seed, "u+mfd direct R/W", TODAY);
const RAW: Row =
    row("block device into prefaulted hugetlb memory", Kind::Raw, "block device, hugetlb", LIMIT);

const STOCK: [Row; 6] = [
    READ,
    RIVAL,
    row("system heap, BOUNCE", Kind::Engine, "system BOUNCE", OURS),
    row(
        "udmabuf (hugetlb), UDMABUF_DIRECT",
        Kind::Engine,
        "udmabuf UDMABUF_DIRECT (hugetlb)",
        OURS,
    ),
    row("the same, from a warm pool", Kind::Engine, "udmabuf AUTO, warm pool (hugetlb)", OURS),
    RAW,
];

const PATCHED: [Row; 6] = [
    READ,
    RIVAL,
    row("system heap, COPY_FILE_RANGE", Kind::Engine, "system COPY_FILE_RANGE", OURS),
    row("the same, called over binder", Kind::Binder, "system COPY_FILE_RANGE", OURS),
    row("the same, from a warm pool", Kind::Engine, "system AUTO, warm pool", OURS),
    RAW,
];

/// Draws the chart of two runs.
///
/// # Errors
/// If a run does not count instructions, if it lacks a path of the chart, or if the plotting
/// library reports an error.
pub fn summary(stock: &Results, patched: &Results) -> Result<String> {
    let runs = [(stock, "Stock kernel", STOCK), (patched, "Kernel with the patch", PATCHED)];
    let groups = runs.into_iter().map(|(results, heading, rows)| {
        ensure!(
            results.mode == Mode::Cost,
            "the run on {} does not count instructions",
            results.flavour
        );
        let bars = rows.iter().map(|row| row.bar(results)).collect::<Result<_>>()?;
        Ok(Group { heading: format!("{heading}, {}", results.machine.kernel), bars })
    });
    let machine = &patched.machine;
    let chart = BarChart {
        title: "CPU cost of loading 1 GiB from F2FS into dma-bufs".to_owned(),
        notes: vec![format!(
            "Every instruction that the virtual device executes (QEMU -icount); x86-64, \
             {} processor, {} buffers of {} MiB",
            machine.cpus,
            machine.buffers,
            machine.buffer_bytes >> 20
        )],
        unit: "million instructions per GiB (logarithmic)".to_owned(),
        scale: Scale::Logarithmic,
        keys: vec![
            Key::Colour(TODAY, "I/O, without the service"),
            Key::Colour(OURS, "I/O, paths of the service"),
            Key::Colour(LIMIT, "I/O, raw device"),
            Key::Mark("create + I/O + close"),
        ],
        groups: groups.collect::<Result<_>>()?,
    };
    chart.svg()
}

impl Row {
    fn bar(&self, results: &Results) -> Result<Bar> {
        let io = self.millions(results, &[Phase::Io])?;
        let total = self.millions(results, &Phase::ALL)?;
        let mark = (self.kind != Kind::Raw).then_some(total);
        Ok(Bar { label: self.label.to_owned(), parts: vec![(io, self.colour)], value: io, mark })
    }

    fn millions(&self, results: &Results, phases: &[Phase]) -> Result<f64> {
        let figure = Figure {
            cheapest_of: vec![Selector::loads(self.kind, self.method)],
            phases: phases.to_vec(),
            clock: Clock::System,
            less: None,
            per_operation: false,
        };
        let ns = figure.value(results).map_err(|missing| anyhow!("{missing}"))?;
        Ok(ns / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::{results, series};

    fn run(rows: &[Row]) -> Results {
        let of = |row: &Row| series(row.kind, row.method, 1_085_000_000, 4_600_000, 10_000_000);
        results(rows.iter().map(of).collect())
    }

    #[test]
    fn a_row_shows_its_io_and_its_total() {
        let svg = summary(&run(&STOCK), &run(&PATCHED)).unwrap();
        let count = |text: &str| svg.lines().filter(|line| *line == text).count();
        assert_eq!((count("4.6"), count("1100")), (12, 10));
    }

    #[test]
    fn a_path_that_was_not_measured_is_named() {
        let error = summary(&run(&STOCK[..3]), &run(&PATCHED)).unwrap_err().to_string();
        assert_eq!(error, "udmabuf UDMABUF_DIRECT (hugetlb) was not measured");
    }

    #[test]
    fn a_run_that_measures_time_is_refused() {
        let speed = Results { mode: Mode::Speed, ..run(&STOCK) };
        assert!(summary(&speed, &run(&PATCHED)).is_err());
    }
}
