// SPDX-License-Identifier: Apache-2.0
//! The threads that help a request: every thread of the engine that moves or digests bytes starts
//! here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A bounded number of helper threads. A request that finds none left does all by itself: it is
/// slower then, not wrong.
#[derive(Debug)]
pub(crate) struct Threads {
    free: AtomicUsize,
}

/// One thread that may run, until this is dropped.
struct Permit<'a>(&'a Threads);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

impl Threads {
    /// At most `max` helper threads at a time.
    pub(crate) fn new(max: usize) -> Self {
        Self { free: AtomicUsize::new(max) }
    }

    fn permit(&self) -> Option<Permit<'_>> {
        let one_less = |free: usize| free.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.free.fetch_update(set, fetch, one_less).ok().map(|_| Permit(self))
    }

    /// Runs `work` on the calling thread, with number 0, and on up to `workers` - 1 helpers, with
    /// the numbers after it. Returns when all have returned.
    pub(crate) fn run(&self, name: &str, workers: usize, work: &(dyn Fn(usize) + Sync)) {
        if workers < 2 {
            return work(0);
        }
        thread::scope(|scope| {
            for number in 1..workers {
                let Some(permit) = self.permit() else { break };
                let helper = thread::Builder::new().name(name.to_owned());
                // Without this helper the others do its part.
                let _ = helper.spawn_scoped(scope, move || {
                    let _permit = permit;
                    work(number);
                });
            }
            work(0);
        });
    }

    /// Runs `side` on a helper while `main` runs on the calling thread. `None` where no thread was
    /// left for it, and then neither has run.
    pub(crate) fn run_beside<S: Send, M>(
        &self,
        name: &str,
        side: impl FnOnce() -> S + Send,
        main: impl FnOnce() -> M,
    ) -> Option<(thread::Result<S>, M)> {
        let permit = self.permit()?;
        thread::scope(|scope| {
            let helper = thread::Builder::new().name(name.to_owned());
            let side = helper
                .spawn_scoped(scope, move || {
                    let _permit = permit;
                    side()
                })
                .ok()?;
            let main = main();
            Some((side.join(), main))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{Barrier, Mutex};

    use super::*;

    #[test]
    fn work_runs_on_as_many_threads_as_asked_for() {
        let (threads, barrier) = (Threads::new(3), Barrier::new(4));
        let seen = Mutex::new(HashSet::new());
        threads.run("test", 4, &|number| {
            barrier.wait();
            seen.lock().unwrap().insert((number, thread::current().id()));
        });
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.len(), 4);
        assert!(seen.contains(&(0, thread::current().id())));
    }

    #[test]
    fn helpers_are_bounded_over_all_requests() {
        let threads = Threads::new(1);
        let inner = threads.run_beside(
            "outer",
            || threads.run_beside("inner", || (), || ()).is_none(),
            || (),
        );
        assert!(inner.unwrap().0.unwrap(), "the only helper was busy");
        assert!(threads.run_beside("again", || (), || ()).is_some(), "and came back");
        let numbers = Mutex::new(Vec::new());
        threads.run("bounded", 4, &|number| numbers.lock().unwrap().push(number));
        let mut numbers = numbers.into_inner().unwrap();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1]);
    }
}
