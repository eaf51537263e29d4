// SPDX-License-Identifier: Apache-2.0
//! The limit on the memory of new buffers, over all clients: a buffer is allocated only if enough
//! of the machine's memory is left after it. A client can ask for any size by a sparse file that
//! costs it nothing.
//!
//! Live buffers are not counted here: the kernel has taken their memory out of `MemAvailable`,
//! which a request is compared with. What is counted is the memory in flight: admitted, and not yet
//! allocated.
//!
//! - Swap does not count: a load must not push the memory of others into zram.
//! - Buffers of CMA count: their pages are part of `MemAvailable`, and what lies on them moves to
//!   other memory.
//! - Pages of the hugetlb pool do not count: they are set aside from the rest of the memory.
//! - A buffer that the pool has free does not count: it is allocated.
//! - A load into a buffer that exists allocates nothing but bounce memory, which is limited by the
//!   number of requests that run, and page cache, of which a load leaves little.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dmabuf_uapi::memory::total_bytes;

use crate::buffer::{Allocated, BufferName, PageKind};
use crate::error::{EngineError, Result};
use crate::heap::{Heap, Purpose};
use crate::meminfo::Meminfo;

/// What stays for the rest of the machine: this part of its memory, and at least so much.
const RESERVE_DIVISOR: u64 = 16;
const MIN_RESERVE_BYTES: u64 = 64 << 20;

/// What small requests may take together before the kernel is asked again: so much, and at most
/// this part of what a request could have.
const CREDIT_BYTES: u64 = 16 << 20;
const CREDIT_DIVISOR: u64 = 16;

/// How long what the kernel said is good for small requests.
const CREDIT_TIME: Duration = Duration::from_secs(1);

/// Decides which allocations the machine has the memory for.
#[derive(Debug)]
pub(crate) struct Admission {
    reserve_bytes: u64,
    ledger: Mutex<Ledger>,
}

/// Memory that was admitted, until it is allocated or the attempt has failed.
#[derive(Debug)]
struct InFlight<'a> {
    admission: &'a Admission,
    size_bytes: u64,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.admission.ledger().in_flight_bytes -= self.size_bytes;
    }
}

impl Admission {
    /// With a reserve that fits the memory of this machine.
    pub(crate) fn new() -> Self {
        Self::with_reserve((total_bytes() / RESERVE_DIVISOR).max(MIN_RESERVE_BYTES))
    }

    fn with_reserve(reserve_bytes: u64) -> Self {
        Self { reserve_bytes, ledger: Mutex::default() }
    }

    /// Allocates a buffer as [`Heap::allocate`] does, if the machine has the memory.
    ///
    /// # Errors
    /// [`EngineError::MemoryShort`], and nothing was allocated; those of [`Heap::allocate`].
    pub(crate) fn allocate(
        &self,
        heap: &Heap,
        size_bytes: u64,
        pages: Option<PageKind>,
        name: &BufferName,
        purpose: Purpose,
    ) -> Result<Allocated> {
        let counts = pages != Some(PageKind::Hugetlb);
        let _in_flight = counts.then(|| self.admit(&heap.name, size_bytes)).transpose()?;
        heap.allocate(size_bytes, pages, name, purpose)
    }

    fn admit(&self, heap: &str, size_bytes: u64) -> Result<InFlight<'_>> {
        let available = || Meminfo::read().available_bytes();
        self.admit_at(Instant::now(), size_bytes, available).map_err(|refused| {
            EngineError::MemoryShort {
                heap: heap.to_owned(),
                size_bytes,
                available_bytes: refused.available_bytes,
                in_flight_bytes: refused.in_flight_bytes,
                reserve_bytes: self.reserve_bytes,
            }
        })
    }

    fn admit_at(
        &self,
        now: Instant,
        size_bytes: u64,
        available: impl FnOnce() -> Option<u64>,
    ) -> std::result::Result<InFlight<'_>, Refused> {
        self.ledger().admit(self.reserve_bytes, now, size_bytes, available)?;
        Ok(InFlight { admission: self, size_bytes })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an allocation is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    available_bytes: u64,
    in_flight_bytes: u64,
}

#[derive(Debug, Default)]
struct Ledger {
    in_flight_bytes: u64,
    /// What small requests go by; `None` before the first.
    credit: Option<Credit>,
}

#[derive(Debug)]
struct Credit {
    left_bytes: u64,
    until: Instant,
}

impl Ledger {
    fn admit(
        &mut self,
        reserve_bytes: u64,
        now: Instant,
        size_bytes: u64,
        available: impl FnOnce() -> Option<u64>,
    ) -> std::result::Result<(), Refused> {
        if !self.spend_credit(now, size_bytes) {
            let in_flight_bytes = self.in_flight_bytes;
            // A kernel that does not tell limits nothing.
            let available_bytes = available().unwrap_or(u64::MAX);
            let taken_bytes = in_flight_bytes.saturating_add(reserve_bytes);
            let room_bytes = available_bytes.saturating_sub(taken_bytes);
            let Some(left_bytes) = room_bytes.checked_sub(size_bytes) else {
                self.credit = None;
                return Err(Refused { available_bytes, in_flight_bytes });
            };
            let left_bytes = (left_bytes / CREDIT_DIVISOR).min(CREDIT_BYTES);
            self.credit = Some(Credit { left_bytes, until: now + CREDIT_TIME });
        }
        self.in_flight_bytes += size_bytes;
        Ok(())
    }

    fn spend_credit(&mut self, now: Instant, size_bytes: u64) -> bool {
        let credit = self.credit.as_mut().filter(|credit| now < credit.until);
        let Some(credit) = credit else { return false };
        match credit.left_bytes.checked_sub(size_bytes) {
            Some(left_bytes) => {
                credit.left_bytes = left_bytes;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, AssertUnwindSafe};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A machine whose memory goes down with what is allocated.
    struct Machine {
        admission: Admission,
        available: AtomicU64,
        readings: AtomicU64,
    }

    impl Machine {
        fn new(available_bytes: u64, reserve_bytes: u64) -> Self {
            Self {
                admission: Admission::with_reserve(reserve_bytes),
                available: AtomicU64::new(available_bytes),
                readings: AtomicU64::new(0),
            }
        }

        fn admit(
            &self,
            now: Instant,
            size_bytes: u64,
        ) -> std::result::Result<InFlight<'_>, Refused> {
            self.admission.admit_at(now, size_bytes, || {
                self.readings.fetch_add(1, Ordering::Relaxed);
                Some(self.available.load(Ordering::Relaxed))
            })
        }

        fn readings(&self) -> u64 {
            self.readings.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn what_exceeds_the_memory_is_refused_with_the_numbers() {
        let machine = Machine::new(1000 * MIB, 100 * MIB);
        let now = Instant::now();
        assert!(machine.admit(now, 900 * MIB).is_ok());
        let refused = machine.admit(now, 900 * MIB + 1).unwrap_err();
        let expected = Refused { available_bytes: 1000 * MIB, in_flight_bytes: 0 };
        assert_eq!(refused, expected);
        let first = machine.admit(now, 600 * MIB).unwrap();
        let refused = machine.admit(now, 301 * MIB).unwrap_err();
        assert_eq!(refused.in_flight_bytes, 600 * MIB);
        assert!(machine.admit(now, u64::MAX).is_err(), "without an overflow");
        drop(first);
        assert!(machine.admit(now, 900 * MIB).is_ok(), "what is over is released");
    }

    #[test]
    fn a_panic_releases_what_was_admitted() {
        let machine = Machine::new(1000 * MIB, 0);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _in_flight = machine.admit(Instant::now(), MIB).unwrap();
            panic!("as an allocation would");
        }));
        assert!(panicked.is_err());
        assert_eq!(machine.admission.ledger().in_flight_bytes, 0);
    }

    #[test]
    fn small_requests_seldom_ask_the_kernel() {
        let machine = Machine::new(1000 * MIB, 100 * MIB);
        let now = Instant::now();
        for _ in 0..=CREDIT_BYTES / 4096 {
            drop(machine.admit(now, 4096).unwrap());
        }
        assert_eq!(machine.readings(), 1);
        drop(machine.admit(now, 4096).unwrap());
        assert_eq!(machine.readings(), 2, "the credit is spent");
        drop(machine.admit(now + CREDIT_TIME, 4096).unwrap());
        assert_eq!(machine.readings(), 3, "the credit is old");
        drop(machine.admit(now, 32 * MIB).unwrap());
        assert_eq!(machine.readings(), 4, "a large request asks");
    }

    #[test]
    fn little_memory_gives_little_credit() {
        let machine = Machine::new(101 * MIB, 100 * MIB);
        let now = Instant::now();
        for _ in 0..64 {
            drop(machine.admit(now, 4096).unwrap());
        }
        assert!(machine.readings() > 3, "{} readings", machine.readings());
        machine.available.store(100 * MIB, Ordering::Relaxed);
        assert!(machine.admit(now + CREDIT_TIME, 4096).is_err());
    }

    #[test]
    fn a_kernel_that_tells_nothing_limits_nothing() {
        let admission = Admission::with_reserve(MIB);
        assert!(admission.admit_at(Instant::now(), 1 << 40, || None).is_ok());
    }

    /// Random requests of several threads at a time, some of which fail after they were admitted.
    #[test]
    fn requests_together_never_take_the_reserve() {
        const RESERVE_BYTES: u64 = 64 * MIB;
        let machine = Machine::new(512 * MIB, RESERVE_BYTES);
        let (lowest, admitted) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        let requests = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut live = Vec::new();
            for _ in 0..300 {
                let size_bytes = match random.u8(0..4) {
                    0 => random.u64(1..=96 * MIB),
                    _ => random.u64(1..=MIB),
                };
                let Ok(in_flight) = machine.admit(Instant::now(), size_bytes) else {
                    live.clear();
                    continue;
                };
                admitted.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
                if random.bool() {
                    live.push(Live::allocate(&machine.available, size_bytes));
                    let left = machine.available.load(Ordering::Relaxed);
                    lowest.fetch_min(left, Ordering::Relaxed);
                }
                drop(in_flight);
                if live.len() > 8 {
                    live.swap_remove(random.usize(0..live.len()));
                }
            }
        };
        thread::scope(|scope| {
            for seed in 0..6 {
                scope.spawn(move || requests(seed));
            }
        });
        let lowest = lowest.into_inner();
        assert!(lowest >= RESERVE_BYTES, "{lowest} bytes were left");
        assert!(admitted.into_inner() > 300);
        assert_eq!(machine.admission.ledger().in_flight_bytes, 0);
        assert_eq!(machine.available.into_inner(), 512 * MIB);
    }

    /// Memory that is allocated until this is dropped.
    struct Live<'a>(&'a AtomicU64, u64);

    impl<'a> Live<'a> {
        fn allocate(available: &'a AtomicU64, size_bytes: u64) -> Self {
            available.fetch_sub(size_bytes, Ordering::Relaxed);
            Self(available, size_bytes)
        }
    }

    impl Drop for Live<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(self.1, Ordering::Relaxed);
        }
    }
}
