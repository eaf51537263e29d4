// SPDX-License-Identifier: Apache-2.0
//! Runs what needs a device, two devices at a time where this machine is big enough: one device
//! keeps about one processor busy.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use crate::host_memory::{self, Size};
use crate::results::Suite;

/// Something to run on a device of its own.
pub struct Job<'a> {
    /// What the device needs.
    pub size: Size,
    /// Runs it.
    pub run: Box<dyn Fn() -> Vec<Suite> + Sync + 'a>,
}

impl<'a> Job<'a> {
    /// A job.
    pub fn new(size: Size, run: impl Fn() -> Vec<Suite> + Sync + 'a) -> Self {
        Self { size, run: Box::new(run) }
    }
}

/// Runs every job; the first in line is started first. The results are in the order of the jobs.
pub fn run_all(jobs: &[Job<'_>]) -> Result<Vec<Suite>> {
    let slots = slots(jobs, processors(), host_memory::has_room_for)?;
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..jobs.len()).collect());
    let done: Mutex<Vec<(usize, Vec<Suite>)>> = Mutex::default();
    let next = || lock(&waiting).pop_front();
    thread::scope(|scope| {
        for _ in 0..slots {
            scope.spawn(|| {
                while let Some(index) = next() {
                    let suites = (jobs[index].run)();
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

/// How many devices may run at the same time: two, if each gets a processor and the two biggest fit
/// into memory with their disks.
fn slots(
    jobs: &[Job<'_>],
    processors: usize,
    has_room_for: impl Fn(u64) -> Result<bool>,
) -> Result<usize> {
    let mut sizes: Vec<u64> = jobs.iter().map(|job| job.size.total_mib()).collect();
    sizes.sort_unstable();
    let biggest: u64 = sizes.iter().rev().take(2).sum();
    Ok(if processors >= 2 && has_room_for(biggest)? { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn job(name: &'static str, memory_mib: u64) -> Job<'static> {
        let size = Size { memory_mib, data_disk_mib: 10 };
        Job::new(size, move || vec![Suite::new(name)])
    }

    #[test]
    fn two_at_a_time_only_on_a_machine_that_is_big_enough() {
        let jobs = [job("a", 100), job("b", 300), job("c", 200)];
        let slots = |processors, room| slots(&jobs, processors, |size| Ok(size <= room)).unwrap();
        assert_eq!(slots(2, 520), 2);
        assert_eq!(slots(2, 519), 1);
        assert_eq!(slots(1, 9999), 1);
        assert_eq!(super::slots(&jobs[..1], 2, |size| Ok(size <= 110)).unwrap(), 2);
    }

    #[test]
    fn results_are_in_the_order_of_the_jobs() {
        // Nothing is taken of the memory that the jobs are said to need.
        let suites = run_all(&[job("a", 1), job("b", 1), job("c", 1)]).unwrap();
        let names: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(run_all(&[]).unwrap().is_empty());
    }

    #[test]
    fn two_run_at_the_same_time() {
        let both = Barrier::new(2);
        let job = || {
            Job::new(Size { memory_mib: 1, data_disk_mib: 1 }, || {
                both.wait();
                vec![Suite::new("x")]
            })
        };
        let jobs = [job(), job()];
        if slots(&jobs, processors(), host_memory::has_room_for).unwrap() < 2 {
            println!("SKIPPED: this machine runs one device at a time");
            return;
        }
        assert_eq!(run_all(&jobs).unwrap().len(), 2);
    }
}
