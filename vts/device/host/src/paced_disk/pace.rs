// SPDX-License-Identifier: Apache-2.0
//! When a device that serves one request after the other completes each of them.

use std::fmt;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    mib_per_s: NonZeroU32,
}

impl Rate {
    /// Converts from MiB per second.
    pub fn from_mib_per_s(mib_per_s: NonZeroU32) -> Self {
        Self { mib_per_s }
    }

    /// How long the device is busy with so many bytes.
    pub fn time_for(self, len_bytes: u32) -> Duration {
        let bytes_per_s = u64::from(self.mib_per_s.get()) << 20;
        Duration::from_nanos((u64::from(len_bytes) * 1_000_000_000).div_ceil(bytes_per_s))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB/s", self.mib_per_s)
    }
}

/// Until when the device is busy.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    busy_until: Option<Instant>,
}

impl Pace {
    /// A device without requests so far.
    pub fn new(rate: Rate) -> Self {
        Self { rate, busy_until: None }
    }

    /// When a request that arrived at `arrival` completes. Requests are given in the order in which
    /// the device takes them; it starts this one when it has completed the last one, so idle time
    /// allows no burst.
    ///
    /// The result depends on arrivals and sizes alone: a late answer does not delay the next one.
    pub fn completion(&mut self, arrival: Instant, len_bytes: u32) -> Instant {
        let start = self.busy_until.map_or(arrival, |busy_until| busy_until.max(arrival));
        let completion = start + self.rate.time_for(len_bytes);
        self.busy_until = Some(completion);
        completion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    fn rate(mib_per_s: u32) -> Rate {
        Rate::from_mib_per_s(NonZeroU32::new(mib_per_s).unwrap())
    }

    #[test]
    fn time_is_bytes_by_rate() {
        assert_eq!(rate(1000).time_for(1000 * MIB), Duration::from_secs(1));
        assert_eq!(rate(2000).time_for(MIB), Duration::from_micros(500));
        assert_eq!(rate(1000).time_for(0), Duration::ZERO);
        assert_eq!(rate(u32::MAX).time_for(1), Duration::from_nanos(1), "rounded up");
        assert_eq!(rate(1).time_for(u32::MAX).as_secs(), 4095);
    }

    #[test]
    fn requests_in_flight_are_done_one_after_the_other() {
        let start = Instant::now();
        let mut pace = Pace::new(rate(1000));
        for request in 1..=64 {
            let done = pace.completion(start, MIB);
            assert_eq!(done - start, Duration::from_millis(request));
        }
    }

    #[test]
    fn sizes_add_up_however_they_are_split() {
        let start = Instant::now();
        let (mut whole, mut split) = (Pace::new(rate(1000)), Pace::new(rate(1000)));
        let whole = whole.completion(start, 32 * MIB);
        let split = (0..32 * 256).map(|_| split.completion(start, 4096)).last().unwrap();
        let rounding = Duration::from_nanos(32 * 256);
        assert!(split >= whole && split - whole <= rounding, "{:?}", split - whole);
    }

    #[test]
    fn no_burst_after_idling() {
        let start = Instant::now();
        let mut pace = Pace::new(rate(1000));
        pace.completion(start, MIB);
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.completion(later, MIB) - later, Duration::from_millis(1));
        assert_eq!(pace.completion(later, 9 * MIB) - later, Duration::from_millis(10));
    }

    #[test]
    fn an_arrival_while_the_device_is_busy_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(rate(1000));
        pace.completion(start, 10 * MIB);
        let meanwhile = start + Duration::from_millis(4);
        assert_eq!(pace.completion(meanwhile, MIB) - start, Duration::from_millis(11));
    }
}
