// SPDX-License-Identifier: Apache-2.0
//! Runs plans, two at a time where this machine is big enough: what runs on a device keeps one
//! processor busy most of the time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use crate::host_memory;
use crate::results::Suite;
use crate::steps::Plan;

/// Runs every plan by `run`; the first in line is started first. The results are in the order of the plans.
pub fn run_all(plans: &[Plan], run: impl Fn(&Plan) -> Vec<Suite> + Sync) -> Result<Vec<Suite>> {
    let slots = slots(plans, processors(), host_memory::has_room_for)?;
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..plans.len()).collect());
    let done: Mutex<Vec<(usize, Vec<Suite>)>> = Mutex::default();
    let next = || lock(&waiting).pop_front();
    thread::scope(|scope| {
        for _ in 0..slots {
            scope.spawn(|| {
                while let Some(index) = next() {
                    let suites = run(&plans[index]);
                    lock(&done).push((index, suites));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().flat_map(|(_, suites)| suites).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// How many devices may run at the same time: two, if there is a processor for each and room for
/// the two biggest with their disks in memory.
fn slots(
    plans: &[Plan],
    processors: usize,
    has_room_for: impl Fn(u64) -> Result<bool>,
) -> Result<usize> {
    let mut sizes: Vec<u64> = plans.iter().map(|plan| plan.size.total_mib()).collect();
    sizes.sort_unstable();
    let biggest: u64 = sizes.iter().rev().take(2).sum();
    Ok(if processors >= 2 && has_room_for(biggest)? { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::flavour::Flavour;
    use crate::host_memory::Size;

    fn plan(name: &'static str, memory_mib: u64) -> Plan {
        let size = Size { memory_mib, data_disk_mib: 10 };
        Plan { flavour: Flavour::Patched, name, size, steps: vec![] }
    }

    #[test]
    fn two_at_a_time_only_on_a_machine_that_is_big_enough() {
        let plans = [plan("a", 100), plan("b", 300), plan("c", 200)];
        let slots = |processors, room| slots(&plans, processors, |size| Ok(size <= room)).unwrap();
        assert_eq!(slots(2, 520), 2);
        assert_eq!(slots(2, 519), 1);
        assert_eq!(slots(1, 9999), 1);
        assert_eq!(super::slots(&plans[..1], 2, |size| Ok(size <= 110)).unwrap(), 2);
    }

    #[test]
    fn results_are_in_the_order_of_the_plans() {
        // Nothing is taken of the memory that the plans are said to need.
        let plans = [plan("a", 1), plan("b", 1), plan("c", 1)];
        let suites = run_all(&plans, |plan| vec![Suite::new(plan.name)]).unwrap();
        let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(run_all(&[], |_| unreachable!()).unwrap().is_empty());
    }

    #[test]
    fn two_run_at_the_same_time() {
        let plans = [plan("a", 1), plan("b", 1)];
        if slots(&plans, processors(), host_memory::has_room_for).unwrap() < 2 {
            println!("SKIPPED: this machine runs one device at a time");
            return;
        }
        let both = Barrier::new(2);
        let suites = run_all(&plans, |plan| {
            both.wait();
            vec![Suite::new(plan.name)]
        });
        assert_eq!(suites.unwrap().len(), 2);
    }
}
