// SPDX-License-Identifier: Apache-2.0
//! The meter: measures CPU time of this process, of the service, and of the whole machine.

use std::time::Instant;

use anyhow::{Context, Result};
use vts_bench_record::Cost;
use vts_uapi::cpu_clock::CpuClock;

use crate::system_time::SystemTime;

/// How many empty measurements are made, to find the cost of measuring.
const CALIBRATIONS: usize = 9;

/// Measures phases.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    service: Option<CpuClock>,
    system: Option<SystemTime>,
    /// The cost of an empty [`Meter::measure`].
    overhead: Cost,
}

impl Meter {
    /// Makes a meter. It also measures the process `service`, if given, and the machine, if that is
    /// possible.
    pub fn new(service: Option<u32>) -> Result<Self> {
        let service =
            service.map(CpuClock::of_process).transpose().context("the service's clock")?;
        let system = SystemTime::of_one_processor();
        let nothing = Cost { system_ns: Some(0), ..Cost::default() };
        let uncalibrated = Self { service, system, overhead: nothing };
        let mut nothing = (0..CALIBRATIONS)
            .map(|_| Ok(uncalibrated.measure(|| Ok(()))?.1))
            .collect::<Result<Vec<Cost>>>()?;
        nothing.sort_by_key(|cost| cost.system_ns.unwrap_or(cost.process_ns));
        Ok(Self { overhead: nothing[CALIBRATIONS / 2], ..uncalibrated })
    }

    /// Whether costs include that of the whole machine.
    pub fn has_system_time(&self) -> bool {
        self.system.is_some()
    }

    /// Calls `work`; returns its result and its cost.
    pub fn measure<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Cost)> {
        // The most expensive clock is read outermost, so that reading it is part of no other
        // clock's measurement.
        let system_before = self.system_ns()?;
        let service_before = self.service_ns()?;
        let wall_before = Instant::now();
        let process_before = nanoseconds(CpuClock::OWN)?;
        let caller_before = nanoseconds(CpuClock::CALLING_THREAD)?;
        let result = work();
        let caller = nanoseconds(CpuClock::CALLING_THREAD)?.saturating_sub(caller_before);
        let process = nanoseconds(CpuClock::OWN)?.saturating_sub(process_before);
        let wall = wall_before.elapsed();
        let service = self.service_ns()?.saturating_sub(service_before);
        let system = self.system_ns()?.zip(system_before).map(|(after, before)| after - before);
        let cost = Cost {
            process_ns: process,
            caller_ns: caller,
            service_ns: service,
            system_ns: system,
            wall_ns: u64::try_from(wall.as_nanos())?,
        };
        Ok((result?, cost.minus(self.overhead)))
    }

    fn service_ns(&self) -> Result<u64> {
        self.service.map_or(Ok(0), |clock| {
            nanoseconds(clock).context("the process of the service has ended")
        })
    }

    fn system_ns(&self) -> Result<Option<u64>> {
        self.system.map(SystemTime::busy_ns).transpose()
    }
}

fn nanoseconds(clock: CpuClock) -> Result<u64> {
    Ok(u64::try_from(clock.time()?.as_nanos())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_and_errors_pass() {
        let meter = Meter::new(None).unwrap();
        let (sum, cost) = meter
            .measure(|| Ok((0..2_000_000_u64).fold(0, |a, b| std::hint::black_box(a ^ b))))
            .unwrap();
        assert_eq!(sum, (0..2_000_000).fold(0, |a, b| a ^ b));
        assert!(cost.process_ns > 0 && cost.wall_ns > 0, "{cost:?}");
        assert_eq!(cost.service_ns, 0);
        let failed: Result<((), Cost)> = meter.measure(|| anyhow::bail!("broken"));
        assert_eq!(failed.unwrap_err().to_string(), "broken");
    }
}
