// SPDX-License-Identifier: Apache-2.0
//! The charts of one run: create, I/O and close of every method, and the I/O alone.

use anyhow::Result;
use plotters::style::RGBColor;
use vts_bench_record::{Direction, Kind};

use super::bars::{Bar, BarChart, Group, Key, Scale};
use crate::display::{clock, label, millions, unit};
use crate::figure::Phase;
use crate::results::{Results, Series};

const PHASES: [(Phase, RGBColor, &str); 3] = [
    (Phase::Create, RGBColor(0x8d, 0xa0, 0xcb), "create"),
    (Phase::Io, RGBColor(0xfc, 0x8d, 0x62), "I/O"),
    (Phase::Close, RGBColor(0x66, 0xc2, 0xa5), "close"),
];

const GROUPS: [(Kind, &str); 4] = [
    (Kind::Seed, "Methods of the public series, by row"),
    (Kind::Engine, "Paths of the engine, in-process"),
    (Kind::Binder, "Paths of the service, over binder"),
    (Kind::Raw, "Block device read into prefaulted memory: the limit"),
];

/// Draws the charts of a run; returns file names and contents.
///
/// # Errors
/// If the plotting library reports one.
pub fn of_run(results: &Results) -> Result<Vec<(String, String)>> {
    let mut charts = Vec::new();
    for (direction, verb) in [(Direction::Load, "load"), (Direction::Save, "save")] {
        let total = chart(results, direction, Scale::Linear);
        if !total.groups.is_empty() {
            charts.push((format!("{verb}-total.svg"), total.svg()?));
            let io = chart(results, direction, Scale::Logarithmic);
            charts.push((format!("{verb}-io.svg"), io.svg()?));
        }
    }
    Ok(charts)
}

/// A linear axis shows all phases, a logarithmic axis the I/O alone.
fn chart(results: &Results, direction: Direction, scale: Scale) -> BarChart {
    let phases = match scale {
        Scale::Linear => PHASES.as_slice(),
        Scale::Logarithmic => &PHASES[1..2],
    };
    let measured = match scale {
        Scale::Linear => "create, I/O and close",
        Scale::Logarithmic => "I/O alone, logarithmic axis",
    };
    let moves = if direction == Direction::Save { "Saves to" } else { "Loads from" };
    let machine = &results.machine;
    let groups = GROUPS.into_iter().map(|(kind, heading)| Group {
        heading: heading.to_owned(),
        bars: results
            .of(kind, direction)
            .filter_map(|series| bar(results, series, phases))
            .collect(),
    });
    let keys = phases.iter().map(|(_, colour, name)| Key::Colour(*colour, name));
    BarChart {
        title: format!("{moves} F2FS on the {} kernel: {measured}", results.flavour),
        notes: vec![
            format!(
                "Kernel {} under QEMU, processors: {}; {} buffers of {} MiB",
                machine.kernel,
                machine.cpus,
                machine.buffers,
                machine.buffer_bytes >> 20
            ),
            results.command.clone(),
        ],
        unit: unit(results).to_owned(),
        scale,
        keys: if phases.len() > 1 { keys.collect() } else { Vec::new() },
        groups: groups.filter(|group| !group.bars.is_empty()).collect(),
    }
}

/// Returns `None` if a phase that the chart needs was not measured.
fn bar(results: &Results, series: &Series, phases: &[(Phase, RGBColor, &str)]) -> Option<Bar> {
    let clock = clock(results);
    let of = |phases: &[Phase]| millions(series, phases, clock);
    let all: Vec<Phase> = phases.iter().map(|(phase, ..)| *phase).collect();
    let value = of(&all).filter(|value| *value > 0.0)?;
    let parts = phases.iter().filter_map(|(phase, colour, _)| Some((of(&[*phase])?, *colour)));
    let row = series.case.row.map_or(String::new(), |row| format!("{row}. "));
    Some(Bar { label: row + &label(&series.case), parts: parts.collect(), value, mark: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::{results, series};
    use crate::results::Mode;

    #[test]
    fn every_series_is_drawn_with_its_values() {
        let all = results(vec![
            series(Kind::Seed, "a & b", 10_000_000, 40_000_000, 0),
            series(Kind::Engine, "c", 10_000_000, 4_000_000, 0),
        ]);
        let charts = of_run(&all).unwrap();
        let names: Vec<&str> = charts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["load-total.svg", "load-io.svg"]);
        for ((_, svg), values) in charts.iter().zip([["50.0", "14.0"], ["40.0", "4.0"]]) {
            for text in values.into_iter().chain(["a &amp; b", "c", "cargo vts bench --cost"]) {
                assert!(svg.lines().any(|line| line == text), "{text} is not in {svg}");
            }
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        }
    }

    #[test]
    fn the_value_of_a_bar_is_the_median_of_sums() {
        let mut repeated = series(Kind::Seed, "a", 10_000_000, 40_000_000, 0);
        for (create, io) in [(20, 10), (30, 30)] {
            let one = series(Kind::Seed, "a", create * 1_000_000, io * 1_000_000, 0);
            repeated.samples.extend(one.samples);
        }
        let all = Results { mode: Mode::Speed, ..results(vec![repeated]) };
        let drawn = chart(&all, Direction::Load, Scale::Linear);
        let bar = &drawn.groups[0].bars[0];
        let lengths: Vec<f64> = bar.parts.iter().map(|part| part.0).collect();
        assert_eq!((lengths, bar.value), (vec![20.0, 30.0, 0.0], 50.0));
    }

    #[test]
    fn phases_follow_each_other_in_a_bar() {
        let all = results(vec![series(Kind::Seed, "a", 10_000_000, 40_000_000, 5_000_000)]);
        let drawn = chart(&all, Direction::Load, Scale::Linear);
        let lengths: Vec<f64> = drawn.groups[0].bars[0].parts.iter().map(|part| part.0).collect();
        assert_eq!(lengths, [10.0, 40.0, 5.0]);
        assert_eq!(drawn.groups[0].bars[0].value, 55.0);
        let io = chart(&all, Direction::Load, Scale::Logarithmic);
        assert_eq!(io.groups[0].bars[0].parts.len(), 1);
    }
}
