// SPDX-License-Identifier: Apache-2.0
//! Figures: numbers that are computed from selected measurements of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vts_bench_record::{Case, Cost, Direction, Kind, Phases};

use crate::results::{Results, Series};

const GIB: f64 = (1_u64 << 30) as f64;

/// The clock of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// CPU time of the benchmark's process and of the service's.
    Processes,
    /// CPU time of the thread that makes the calls.
    Caller,
    /// Every instruction of the device while it was not idle: tasks, kernel threads, interrupts.
    System,
    /// Elapsed time.
    Wall,
}

impl Clock {
    /// Returns the nanoseconds of a cost, if the cost has this clock.
    pub fn ns(self, cost: Cost) -> Option<u64> {
        match self {
            Self::Processes => Some(cost.process_ns + cost.service_ns),
            Self::Caller => Some(cost.caller_ns),
            Self::System => cost.system_ns,
            Self::Wall => Some(cost.wall_ns),
        }
    }
}

/// A phase of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Creating the buffers.
    Create,
    /// Moving the bytes.
    Io,
    /// Closing the buffers.
    Close,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 3] = [Self::Create, Self::Io, Self::Close];

    fn of(self, phases: &Phases) -> Option<Cost> {
        match self {
            Self::Create => phases.create,
            Self::Io => phases.io,
            Self::Close => phases.close,
        }
    }
}

/// Selects measurements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// The kind of measurement.
    pub kind: Kind,
    /// The name of the method.
    pub method: String,
    /// The direction; loads by default.
    #[serde(default = "load")]
    pub direction: Direction,
    /// Parameters that a case must have; it may have others.
    #[serde(default)]
    pub parameters: BTreeMap<String, u64>,
}

fn load() -> Direction {
    Direction::Load
}

impl Selector {
    /// The loads of a method, whatever their parameters.
    pub fn loads(kind: Kind, method: &str) -> Self {
        let parameters = BTreeMap::new();
        Self { kind, method: method.to_owned(), direction: Direction::Load, parameters }
    }

    fn matches(&self, case: &Case) -> bool {
        case.kind == self.kind
            && case.method == self.method
            && case.direction == self.direction
            && self.parameters.iter().all(|(name, value)| case.parameters.get(name) == Some(value))
    }
}

/// A number: nanoseconds per GiB, or per operation if no bytes moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The measurements, of which the cheapest is used.
    pub cheapest_of: Vec<Selector>,
    /// The phases to add up; a phase that a measurement lacks adds nothing.
    pub phases: Vec<Phase>,
    /// The clock.
    pub clock: Clock,
    /// The figure that is subtracted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub less: Option<Box<Figure>>,
    /// Divide by the operations even if bytes moved.
    #[serde(default)]
    pub per_operation: bool,
}

impl Figure {
    /// Computes the number.
    ///
    /// # Errors
    /// The measurement that is missing, with the reason.
    pub fn value(&self, results: &Results) -> Result<f64, String> {
        let values = self.cheapest_of.iter().flat_map(|selector| {
            results.measurements.iter().filter(move |series| selector.matches(&series.case))
        });
        let cheapest = values
            .filter_map(|series| self.of_series(series))
            .min_by(f64::total_cmp)
            .ok_or_else(|| self.missing(results))?;
        let less = self.less.as_ref().map_or(Ok(0.0), |less| less.value(results))?;
        Ok(cheapest - less)
    }

    /// Returns the measurements that the figure needs.
    pub fn selectors(&self) -> Vec<&Selector> {
        let less = self.less.as_ref().map_or(Vec::new(), |less| less.selectors());
        self.cheapest_of.iter().chain(less).collect()
    }

    /// Computes the number for each of the measurements.
    pub fn all(&self, results: &Results) -> Vec<f64> {
        let selected =
            |series: &&Series| self.cheapest_of.iter().any(|one| one.matches(&series.case));
        let values = results.measurements.iter().filter(selected);
        values.filter_map(|series| self.of_series(series)).collect()
    }

    fn of_series(&self, series: &Series) -> Option<f64> {
        let ns = typical_ns(series, &self.phases, self.clock)?;
        let units = if self.per_operation || series.case.bytes == 0 {
            series.case.operations as f64
        } else {
            series.case.bytes as f64 / GIB
        };
        (units > 0.0).then(|| ns / units)
    }

    fn missing(&self, results: &Results) -> String {
        let names: Vec<&str> =
            self.cheapest_of.iter().map(|selector| selector.method.as_str()).collect();
        let reason = self.cheapest_of.iter().find_map(|selector| {
            let series =
                results.measurements.iter().find(|series| selector.matches(&series.case))?;
            series.not_possible.as_ref().or(series.failed.as_ref())
        });
        match reason {
            Some(reason) => format!("{}: {reason}", names.join(", ")),
            None => format!("{} was not measured", names.join(", ")),
        }
    }
}

/// Returns the sum of some phases over the repetitions, in nanoseconds: the median of elapsed time,
/// the minimum of CPU time, because other work of the device can only add to CPU time.
pub fn typical_ns(series: &Series, phases: &[Phase], clock: Clock) -> Option<f64> {
    let mut sums = series
        .samples
        .iter()
        .map(|sample| {
            let costs: Vec<Cost> = phases.iter().filter_map(|phase| phase.of(sample)).collect();
            if costs.is_empty() {
                return None;
            }
            costs.into_iter().map(|cost| clock.ns(cost)).sum::<Option<u64>>()
        })
        .collect::<Option<Vec<u64>>>()?;
    sums.sort_unstable();
    if clock != Clock::Wall {
        return sums.first().map(|least| *least as f64);
    }
    let middle = sums.len().checked_sub(1)? / 2;
    let upper = sums[sums.len() / 2];
    Some((sums[middle] as f64 + upper as f64) / 2.0)
}

/// Returns the smallest and the largest value of a phase over the repetitions, in nanoseconds.
pub fn range_ns(series: &Series, phase: Phase, clock: Clock) -> Option<(f64, f64)> {
    let values = series.samples.iter().map(|sample| clock.ns(phase.of(sample)?));
    let values = values.collect::<Option<Vec<u64>>>()?;
    Some((*values.iter().min()? as f64, *values.iter().max()? as f64))
}

/// Converts nanoseconds for some bytes into nanoseconds per GiB.
pub fn per_gib(ns: f64, bytes: u64) -> f64 {
    ns * GIB / bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::{results, series};

    fn figure(method: &str, phases: &[Phase]) -> Figure {
        Figure {
            cheapest_of: vec![Selector::loads(Kind::Seed, method)],
            phases: phases.to_vec(),
            clock: Clock::System,
            less: None,
            per_operation: false,
        }
    }

    #[test]
    fn phases_add_up_and_a_figure_is_subtracted() {
        let all =
            results(vec![series(Kind::Seed, "a", 100, 20, 3), series(Kind::Seed, "z", 90, 1, 1)]);
        assert_eq!(figure("a", &[Phase::Io]).value(&all), Ok(20.0));
        assert_eq!(figure("a", &Phase::ALL).value(&all), Ok(123.0));
        let less = Some(Box::new(figure("z", &[Phase::Create])));
        assert_eq!(Figure { less, ..figure("a", &Phase::ALL) }.value(&all), Ok(33.0));
        assert_eq!(
            Figure { per_operation: true, ..figure("a", &[Phase::Io]) }.value(&all),
            Ok(0.625)
        );
    }

    #[test]
    fn parameters_select_and_the_cheapest_is_taken() {
        let mut deep = series(Kind::Seed, "a", 0, 5, 0);
        deep.case.parameters.insert("depth".to_owned(), 2);
        let all = results(vec![series(Kind::Seed, "a", 0, 7, 0), deep]);
        assert_eq!(figure("a", &[Phase::Io]).value(&all), Ok(5.0));
        assert_eq!(figure("a", &[Phase::Io]).all(&all), [7.0, 5.0]);
        let mut chosen = figure("a", &[Phase::Io]);
        chosen.cheapest_of[0].parameters.insert("depth".to_owned(), 3);
        assert_eq!(chosen.value(&all), Err("a was not measured".to_owned()));
    }

    #[test]
    fn a_method_that_is_not_possible_says_why() {
        let mut refused = series(Kind::Seed, "a", 0, 0, 0);
        refused.samples.clear();
        refused.not_possible = Some("errno=18".to_owned());
        let value = figure("a", &[Phase::Io]).value(&results(vec![refused]));
        assert_eq!(value, Err("a: errno=18".to_owned()));
    }

    #[test]
    fn time_is_a_median_and_cost_a_minimum() {
        let mut repeated = series(Kind::Seed, "a", 0, 1, 0);
        for io in [9, 2] {
            repeated.samples.extend(series(Kind::Seed, "a", 0, io, 0).samples);
        }
        assert_eq!(typical_ns(&repeated, &[Phase::Io], Clock::Wall), Some(2.0));
        assert_eq!(typical_ns(&repeated, &[Phase::Io], Clock::System), Some(1.0));
        repeated.samples.pop();
        assert_eq!(typical_ns(&repeated, &[Phase::Io], Clock::Wall), Some(5.0));
        assert_eq!(range_ns(&repeated, Phase::Io, Clock::Wall), Some((1.0, 9.0)));
    }
}
