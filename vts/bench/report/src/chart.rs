// SPDX-License-Identifier: Apache-2.0
//! Charts as SVG: bars of create, I/O and close, and bars of the I/O alone on a logarithmic scale.

use std::fmt::Write as _;

use vts_bench_record::{Direction, Kind};

use crate::figure::{Clock, Phase};
use crate::results::{Results, Series};
use crate::table::{clock, millions, name};

const LABEL_WIDTH: f64 = 370.0;
const BAR_WIDTH: f64 = 520.0;
const VALUE_WIDTH: f64 = 80.0;
const ROW_HEIGHT: f64 = 18.0;
const HEAD_HEIGHT: f64 = 66.0;
const PHASES: [(Phase, &str, &str); 3] = [
    (Phase::Create, "create", "#8da0cb"),
    (Phase::Io, "I/O", "#fc8d62"),
    (Phase::Close, "close", "#66c2a5"),
];

/// The charts of a run: file name and content.
pub fn charts(results: &Results) -> Vec<(String, String)> {
    let mut charts = Vec::new();
    for (direction, word) in [(Direction::Load, "load"), (Direction::Save, "save")] {
        let kinds = [Kind::Seed, Kind::Engine, Kind::Binder, Kind::Raw];
        let rows: Vec<&Series> = kinds
            .iter()
            .flat_map(|kind| results.of(*kind, direction))
            .filter(|series| !series.samples.is_empty())
            .collect();
        if !rows.is_empty() {
            charts.push((format!("{word}-total.svg"), total(results, &rows, word)));
            charts.push((format!("{word}-io.svg"), io(results, &rows, word)));
        }
    }
    charts
}

/// Bars of all phases, one after the other, on a linear scale.
fn total(results: &Results, rows: &[&Series], word: &str) -> String {
    let clock = clock(results);
    let totals: Vec<f64> =
        rows.iter().filter_map(|series| millions(series, &Phase::ALL, clock)).collect();
    let largest = totals.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = Svg::new(results, rows.len(), &format!("{word}: create, I/O and close"));
    for (index, (_, label, colour)) in PHASES.iter().enumerate() {
        svg.legend(index, label, colour);
    }
    for (index, series) in rows.iter().enumerate() {
        svg.label(index, &name(&series.case));
        let mut x = LABEL_WIDTH;
        for (phase, _, colour) in PHASES {
            let width = millions(series, &[phase], clock).unwrap_or(0.0) / largest * BAR_WIDTH;
            svg.bar(index, x, width, colour);
            x += width;
        }
        svg.value(index, x, millions(series, &Phase::ALL, clock).unwrap_or(0.0));
    }
    svg.finish()
}

/// Bars of the I/O alone; each decade is as long as any other.
fn io(results: &Results, rows: &[&Series], word: &str) -> String {
    let clock = clock(results);
    let value = |series: &&Series| millions(series, &[Phase::Io], clock).filter(|v| *v > 0.0);
    let values: Vec<f64> = rows.iter().filter_map(value).collect();
    let smallest = values.iter().copied().fold(f64::MAX, f64::min).log10().floor();
    let largest = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max).log10().ceil();
    let decades = (largest - smallest).max(1.0);
    let mut svg = Svg::new(results, rows.len(), &format!("{word}: I/O, logarithmic"));
    for decade in 0..=decades as i32 {
        let x = LABEL_WIDTH + f64::from(decade) / decades * BAR_WIDTH;
        svg.grid(x, rows.len(), 10_f64.powf(smallest + f64::from(decade)));
    }
    for (index, series) in rows.iter().enumerate() {
        svg.label(index, &name(&series.case));
        if let Some(io) = value(series) {
            let width = (io.log10() - smallest) / decades * BAR_WIDTH;
            svg.bar(index, LABEL_WIDTH, width, PHASES[1].2);
            svg.value(index, LABEL_WIDTH + width, io);
        }
    }
    svg.finish()
}

struct Svg {
    text: String,
}

impl Svg {
    fn new(results: &Results, rows: usize, title: &str) -> Self {
        let width = LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH;
        let height = HEAD_HEIGHT + rows as f64 * ROW_HEIGHT + 10.0;
        let unit = match clock(results) {
            Clock::Wall => "milliseconds per GiB",
            Clock::Processes | Clock::Caller | Clock::System => {
                "million guest instructions per GiB"
            }
        };
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let _ = writeln!(
            text,
            "<text x=\"10\" y=\"18\" font-size=\"14\">{}</text>\n<text x=\"10\" y=\"34\">{}</text>",
            escaped(&format!("{} kernel, {title}", results.flavour)),
            escaped(&format!("{unit}; {}", results.command)),
        );
        Self { text }
    }

    fn legend(&mut self, index: usize, label: &str, colour: &str) {
        let x = LABEL_WIDTH + index as f64 * 80.0;
        let _ = writeln!(
            self.text,
            "<rect x=\"{x}\" y=\"42\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"51\">{}</text>",
            x + 14.0,
            escaped(label)
        );
    }

    fn grid(&mut self, x: f64, rows: usize, value: f64) {
        let bottom = HEAD_HEIGHT + rows as f64 * ROW_HEIGHT;
        let _ = writeln!(
            self.text,
            "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"51\" text-anchor=\"middle\" fill=\"#888\">{value}</text>",
            HEAD_HEIGHT - 8.0
        );
    }

    fn label(&mut self, index: usize, label: &str) {
        let _ = writeln!(
            self.text,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LABEL_WIDTH - 6.0,
            baseline(index),
            escaped(label)
        );
    }

    fn bar(&mut self, index: usize, x: f64, width: f64, colour: &str) {
        let y = HEAD_HEIGHT + index as f64 * ROW_HEIGHT;
        let _ = writeln!(
            self.text,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            ROW_HEIGHT - 4.0
        );
    }

    fn value(&mut self, index: usize, x: f64, value: f64) {
        let decimals = if value < 10.0 { 2 } else { 0 };
        let _ = writeln!(
            self.text,
            "<text x=\"{:.1}\" y=\"{:.1}\">{value:.decimals$}</text>",
            x + 4.0,
            baseline(index)
        );
    }

    fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

fn baseline(index: usize) -> f64 {
    HEAD_HEIGHT + index as f64 * ROW_HEIGHT + ROW_HEIGHT - 7.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::{results, series};

    #[test]
    fn every_series_has_its_bars_and_the_command_is_in_it() {
        let all = results(vec![
            series(Kind::Seed, "a & b", 10_000_000, 40_000_000, 0),
            series(Kind::Engine, "c", 10_000_000, 4_000_000, 0),
        ]);
        let charts = charts(&all);
        let names: Vec<&str> = charts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["load-total.svg", "load-io.svg"]);
        let (_, total) = &charts[0];
        assert!(total.contains(">a &amp; b</text>") && total.contains(">engine: c</text>"));
        assert!(total.contains("width=\"104.0\"") && total.contains("width=\"416.0\""), "{total}");
        assert!(total.contains("cargo vts bench --cost"));
        let (_, io) = &charts[1];
        assert!(io.contains(">4.00</text>") && io.contains(">40</text>"), "{io}");
        for (_, svg) in &charts {
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        }
    }
}
