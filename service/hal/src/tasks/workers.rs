// SPDX-License-Identifier: Apache-2.0
//! The queue of started requests, and the threads that run them.

use std::collections::HashMap;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use dmabuf_engine::{ClientId, Priority};
use dmabuf_scheduler::fair_queue::{FairQueue, Flow, Ticket};
use serde::Serialize;

/// What runs on a worker.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// How many jobs run at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Of all clients.
    pub(super) all: usize,
    /// Of these, only latency-critical ones may use the last so many.
    pub(super) kept_for_critical: usize,
    /// Of one client: its files may stall, and must not stall the others.
    pub(super) client: usize,
}

/// The threads, and what they run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct WorkerStats {
    /// Threads.
    pub(crate) threads: usize,
    /// Jobs that run.
    pub(crate) running: usize,
    /// Jobs that wait.
    pub(crate) queued: usize,
}

struct State {
    queue: FairQueue<Job>,
    running: HashMap<ClientId, usize>,
    all_running: usize,
    threads: usize,
    idle: usize,
    stopping: bool,
}

struct Shared {
    share: Share,
    state: Mutex<State>,
    wake: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue and its threads. They end after the job that they run when this is dropped; what is
/// queued then is dropped.
pub(super) struct Workers(Arc<Shared>);

impl Workers {
    pub(super) fn new(share: Share) -> Self {
        let state = State {
            queue: FairQueue::default(),
            running: HashMap::new(),
            all_running: 0,
            threads: 0,
            idle: 0,
            stopping: false,
        };
        Self(Arc::new(Shared { share, state: Mutex::new(state), wake: Condvar::new() }))
    }

    /// How many threads there are, and what they do.
    pub(super) fn stats(&self) -> WorkerStats {
        let state = self.0.state();
        WorkerStats {
            threads: state.threads,
            running: state.all_running,
            queued: state.queue.len(),
        }
    }

    /// A reference that keeps no thread alive.
    pub(super) fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.0))
    }

    /// Queues a job. The first ones start the threads, which stay.
    ///
    /// # Errors
    /// That of starting a thread, where there is none at all.
    pub(super) fn push(&self, flow: Flow, job: Job) -> io::Result<Ticket> {
        let mut state = self.0.state();
        if state.idle == 0 && state.threads < self.0.share.all {
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("worker".to_owned());
            match thread.spawn(move || run(&shared)) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(error),
                // The others come to it later.
                Err(error) => log::warn!("no further worker can be started: {error}"),
            }
        }
        let ticket = state.queue.push(flow, 1, job);
        self.0.wake.notify_one();
        Ok(ticket)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.stopping = true;
        let queued = std::mem::take(&mut state.queue);
        self.0.wake.notify_all();
        drop(state);
        drop(queued);
    }
}

/// The queue for those who are in it.
#[derive(Clone)]
pub(super) struct Handle(Arc<Shared>);

impl Handle {
    /// Takes a job out of the queue; it is dropped, with what it holds.
    pub(super) fn remove(&self, flow: Flow, ticket: Ticket) {
        let job = self.0.state().queue.remove(flow, ticket);
        drop(job);
    }

    /// Counts the cost of a job that runs, for the order of those that wait.
    pub(super) fn charge(&self, flow: Flow, cost: u64) {
        self.0.state().queue.charge(flow, cost);
    }
}

/// Runs jobs until the workers stop.
fn run(shared: &Shared) {
    while let Some((flow, job)) = next(shared) {
        // A fault in one request is not to end the others; its task counts as lost.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            log::error!("a request of uid {} has panicked", flow.client.0);
        }
        let mut state = shared.state();
        state.all_running -= 1;
        if let Some(running) = state.running.get_mut(&flow.client) {
            *running -= 1;
            if *running == 0 {
                state.running.remove(&flow.client);
            }
        }
        // What this client has queued, or what is not critical, may run now.
        shared.wake.notify_one();
    }
}

fn next(shared: &Shared) -> Option<(Flow, Job)> {
    let mut state = shared.state();
    loop {
        if state.stopping {
            return None;
        }
        let State { queue, running, all_running, .. } = &mut *state;
        let Share { all, kept_for_critical, client } = shared.share;
        let only_critical = *all_running + kept_for_critical >= all;
        let next = queue.pop_where(|flow| {
            let is_critical = flow.priority == Priority::LatencyCritical;
            let of_client = running.get(&flow.client).copied().unwrap_or(0);
            (is_critical || !only_critical) && of_client < client
        });
        if let Some((flow, job)) = next {
            *all_running += 1;
            *running.entry(flow.client).or_insert(0) += 1;
            return Some((flow, job));
        }
        state.idle += 1;
        state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{channel, Receiver, Sender};
    use std::time::Duration;

    use super::*;

    const SHARE: Share = Share { all: 3, kept_for_critical: 1, client: 2 };
    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(100);

    fn flow(client: u32, priority: Priority) -> Flow {
        Flow { client: ClientId(client), priority }
    }

    /// A job that says that it runs, and then waits until it may end.
    fn job(name: &'static str, begun: &Sender<&'static str>) -> (Job, Sender<()>) {
        let begun = begun.clone();
        let (end, ends) = channel();
        let run = move || {
            begun.send(name).unwrap();
            let _ = ends.recv();
        };
        (Box::new(run), end)
    }

    fn next(begun: &Receiver<&'static str>) -> Option<&'static str> {
        begun.recv_timeout(LONG).ok()
    }

    #[test]
    fn a_client_that_stalls_leaves_workers_for_others() {
        let workers = Workers::new(Share { all: 4, ..SHARE });
        let (sender, begun) = channel();
        let mut ends = Vec::new();
        for name in ["a", "b", "c"] {
            let (job, end) = job(name, &sender);
            workers.push(flow(1, Priority::Normal), job).unwrap();
            ends.push(end);
        }
        let mut first = [next(&begun), next(&begun)];
        first.sort_unstable();
        assert_eq!(first, [Some("a"), Some("b")]);
        assert!(begun.recv_timeout(SHORT).is_err(), "a third job of one client runs");
        let (other, _end) = job("other", &sender);
        workers.push(flow(2, Priority::Bulk), other).unwrap();
        assert_eq!(next(&begun), Some("other"));
        drop(ends.remove(0));
        assert_eq!(next(&begun), Some("c"));
    }

    #[test]
    fn one_worker_is_kept_for_critical_requests() {
        let workers = Workers::new(SHARE);
        let (sender, begun) = channel();
        let mut ends = Vec::new();
        for client in 1..=3 {
            let (job, end) = job("bulk", &sender);
            workers.push(flow(client, Priority::Bulk), job).unwrap();
            ends.push(end);
        }
        assert_eq!([next(&begun), next(&begun)], [Some("bulk"); 2]);
        assert!(begun.recv_timeout(SHORT).is_err(), "bulk uses the last worker");
        let (critical, _end) = job("critical", &sender);
        workers.push(flow(4, Priority::LatencyCritical), critical).unwrap();
        assert_eq!(next(&begun), Some("critical"));
    }

    #[test]
    fn a_removed_job_never_runs_and_is_dropped() {
        let workers = Workers::new(Share { all: 1, kept_for_critical: 0, client: 1 });
        let (sender, begun) = channel();
        let (first, end) = job("first", &sender);
        workers.push(flow(1, Priority::Normal), first).unwrap();
        assert_eq!(next(&begun), Some("first"));
        let (second, ends) = job("second", &sender);
        let ticket = workers.push(flow(1, Priority::Normal), second).unwrap();
        workers.handle().remove(flow(1, Priority::Normal), ticket);
        assert!(ends.send(()).is_err(), "the job is kept");
        drop(end);
        assert!(begun.recv_timeout(SHORT).is_err());
    }

    #[test]
    fn a_panic_costs_one_job_and_no_worker() {
        let workers = Workers::new(Share { all: 1, kept_for_critical: 0, client: 1 });
        workers.push(flow(1, Priority::Normal), Box::new(|| panic!("on purpose"))).unwrap();
        let (sender, begun) = channel();
        let (after, _end) = job("after", &sender);
        workers.push(flow(1, Priority::Normal), after).unwrap();
        assert_eq!(next(&begun), Some("after"));
    }

    #[test]
    fn what_is_queued_is_dropped_with_the_workers() {
        let workers = Workers::new(Share { all: 1, kept_for_critical: 0, client: 1 });
        let (sender, begun) = channel();
        let (first, _end) = job("first", &sender);
        workers.push(flow(1, Priority::Normal), first).unwrap();
        assert_eq!(next(&begun), Some("first"));
        let (second, ends) = job("second", &sender);
        workers.push(flow(1, Priority::Normal), second).unwrap();
        drop(workers);
        assert!(ends.send(()).is_err(), "the job is kept");
    }
}
