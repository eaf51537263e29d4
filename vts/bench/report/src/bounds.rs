// SPDX-License-Identifier: Apache-2.0
//! The committed bounds, and the check of a run's figures against them.

use std::fmt;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figure::{Figure, Selector};
use crate::results::{Mode, Results};

/// The committed bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The checks, in the order of the report.
    pub checks: Vec<Check>,
}

/// One bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// A statement that is true if the check passes.
    pub name: String,
    /// The kernel flavour of the runs to check.
    pub flavour: String,
    /// The mode of the runs to check.
    pub mode: Mode,
    /// Whether the reduced run of `cargo vts` also makes this check, and fails if the value is
    /// missing.
    #[serde(default)]
    pub gate: bool,
    /// The value to compare.
    pub value: Value,
    /// The limit.
    pub bound: Bound,
}

/// A number to compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A figure in millions of nanoseconds (of instructions), per GiB or per operation.
    Millions(Figure),
    /// The first figure divided by the second.
    Ratio(Figure, Figure),
    /// The largest of a figure's measurements divided by the smallest, minus 1: 0.03 for 3 %.
    Spread(Figure),
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(formatter, "at most {limit}"),
            Self::AtLeast(limit) => write!(formatter, "at least {limit}"),
        }
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The name of the check.
    pub name: String,
    /// The value, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// The bound.
    pub bound: Bound,
    /// Whether the bound holds; false if the value is missing.
    pub pass: bool,
    /// The reason why the value is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Whether the reduced run must measure it.
    pub gate: bool,
}

impl Bounds {
    /// Parses the committed file.
    ///
    /// # Errors
    /// If the file is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("the file of bounds")
    }

    /// Returns the measurements that the checks of the gate need.
    pub fn gate_selectors(&self, flavour: &str) -> Vec<&Selector> {
        let concerned = |check: &&Check| check.gate && check.flavour == flavour;
        self.checks.iter().filter(concerned).flat_map(|check| check.value.selectors()).collect()
    }

    /// Makes the checks for the run's flavour and mode.
    pub fn check(&self, results: &Results) -> Vec<Checked> {
        let concerned =
            |check: &&Check| check.flavour == results.flavour && check.mode == results.mode;
        self.checks.iter().filter(concerned).map(|check| check.apply(results)).collect()
    }
}

impl Check {
    fn apply(&self, results: &Results) -> Checked {
        let value = self.value.of(results);
        let pass = value.as_ref().is_ok_and(|value| match self.bound {
            Bound::AtMost(limit) => *value <= limit,
            Bound::AtLeast(limit) => *value >= limit,
        });
        Checked {
            name: self.name.clone(),
            measured: value.as_ref().ok().copied(),
            bound: self.bound,
            pass,
            missing: value.err(),
            gate: self.gate,
        }
    }
}

impl Value {
    fn selectors(&self) -> Vec<&Selector> {
        match self {
            Self::Millions(figure) | Self::Spread(figure) => figure.selectors(),
            Self::Ratio(figure, divisor) => [figure.selectors(), divisor.selectors()].concat(),
        }
    }

    fn of(&self, results: &Results) -> std::result::Result<f64, String> {
        match self {
            Self::Millions(figure) => figure.value(results).map(|ns| ns / 1e6),
            Self::Ratio(figure, divisor) => {
                let (value, by) = (figure.value(results)?, divisor.value(results)?);
                if by > 0.0 {
                    Ok(value / by)
                } else {
                    Err(format!("the divisor is {by}"))
                }
            }
            Self::Spread(figure) => {
                let values = figure.all(results);
                let smallest = values.iter().copied().min_by(f64::total_cmp);
                let largest = values.iter().copied().max_by(f64::total_cmp);
                match (smallest, largest) {
                    (Some(smallest), Some(largest)) if values.len() > 1 && smallest > 0.0 => {
                        Ok(largest / smallest - 1.0)
                    }
                    _ => Err(format!("{} values, two are needed", values.len())),
                }
            }
        }
    }
}

/// Formats the checks as text, one line each.
pub fn lines(checks: &[Checked]) -> String {
    let line = |check: &Checked| {
        let verdict = match (check.pass, &check.missing) {
            (true, _) => "ok    ",
            (false, None) => "FAILED",
            (false, Some(_)) => "-     ",
        };
        let measured = match (check.measured, &check.missing) {
            (Some(value), _) => format!("{value:.4}"),
            (None, Some(missing)) => missing.clone(),
            (None, None) => String::new(),
        };
        format!("{verdict} {}: {measured} ({})\n", check.name, check.bound)
    };
    checks.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::{results, series};
    use vts_bench_record::Kind;

    fn check(value: &str, bound: &str) -> Checked {
        let text = format!(
            r#"{{"checks": [{{"name": "n", "flavour": "patched", "mode": "cost",
                "value": {value}, "bound": {{{bound}}}}}]}}"#
        );
        let all = results(vec![
            series(Kind::Seed, "a", 0, 30_000_000, 0),
            series(Kind::Seed, "b", 0, 60_000_000, 0),
        ]);
        Bounds::parse(&text).unwrap().check(&all).remove(0)
    }

    fn figure(methods: &[&str]) -> String {
        let selectors: Vec<String> = methods
            .iter()
            .map(|method| format!(r#"{{"kind": "seed", "method": "{method}"}}"#))
            .collect();
        format!(
            r#"{{"cheapest_of": [{}], "phases": ["io"], "clock": "system"}}"#,
            selectors.join(", ")
        )
    }

    #[test]
    fn numbers_are_compared() {
        let millions = format!(r#"{{"millions": {}}}"#, figure(&["a", "b"]));
        assert!(check(&millions, r#""at_most": 30"#).pass);
        assert!(!check(&millions, r#""at_most": 29.9"#).pass);
        assert!(!check(&millions, r#""at_least": 30.1"#).pass);
        let ratio = format!(r#"{{"ratio": [{}, {}]}}"#, figure(&["a"]), figure(&["b"]));
        assert_eq!(check(&ratio, r#""at_most": 0.5"#).measured, Some(0.5));
        let spread = format!(r#"{{"spread": {}}}"#, figure(&["a", "b"]));
        assert_eq!(check(&spread, r#""at_most": 0.03"#).measured, Some(1.0));
    }

    #[test]
    fn the_gate_names_the_methods_of_its_checks() {
        let text = format!(
            r#"{{"checks": [{{"name": "n", "flavour": "patched", "mode": "cost", "gate": true,
                "value": {{"ratio": [{}, {}]}}, "bound": {{"at_most": 1}}}}]}}"#,
            figure(&["a"]),
            figure(&["b", "c"])
        );
        let bounds = Bounds::parse(&text).unwrap();
        let names = |flavour: &str| {
            let selectors = bounds.gate_selectors(flavour);
            selectors.iter().map(|selector| selector.method.clone()).collect::<Vec<String>>()
        };
        assert_eq!(names("patched"), ["a", "b", "c"]);
        assert!(names("stock").is_empty());
    }

    #[test]
    fn the_committed_bounds_are_well_formed() {
        let bounds = Bounds::parse(include_str!("../../bounds.json")).unwrap();
        for flavour in ["patched", "stock"] {
            assert!(!bounds.gate_selectors(flavour).is_empty());
        }
    }

    #[test]
    fn a_missing_figure_does_not_pass() {
        let millions = format!(r#"{{"millions": {}}}"#, figure(&["c"]));
        let checked = check(&millions, r#""at_most": 1e9"#);
        assert!(!checked.pass && checked.measured.is_none());
        assert_eq!(checked.missing.as_deref(), Some("c was not measured"));
        let spread = format!(r#"{{"spread": {}}}"#, figure(&["a"]));
        assert!(!check(&spread, r#""at_most": 1"#).pass);
    }

    #[test]
    fn only_the_flavour_and_mode_of_the_run_are_checked() {
        let text = r#"{"checks": [{"name": "n", "flavour": "stock", "mode": "cost", "bound": {"at_most": 1},
            "value": {"millions": {"cheapest_of": [], "phases": [], "clock": "wall"}}}]}"#;
        assert_eq!(Bounds::parse(text).unwrap().check(&results(vec![])), []);
        assert!(Bounds::parse(&text.replace("name", "nmae")).is_err());
    }
}
