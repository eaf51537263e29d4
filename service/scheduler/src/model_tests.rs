// SPDX-License-Identifier: Apache-2.0
//! loom runs each test once for every order in which its threads can take their locks. A wake-up
//! that is lost is a deadlock there: no wait times out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use dmabuf_engine::{CancelToken, ClientId, Priority};
use loom::sync::Arc;
use loom::thread;

use crate::fair_queue::Flow;
use crate::ledger::{Amounts, Limits, Resource};
use crate::quota::Quota;
use crate::task::{task, NoResult};
use crate::turns::Turns;

const CLIENT: ClientId = ClientId(1000);

fn bytes(live: u64) -> Amounts {
    Amounts::NONE.with(Resource::LiveBytes, live)
}

#[test]
fn reservations_never_exceed_the_limit_and_all_end() {
    loom::model(|| {
        let limits = Limits { client: bytes(100), clients: HashMap::new(), all: bytes(150) };
        let quota = Quota::new(limits);
        let reserve = |client, quota: Quota| {
            move || {
                let reserved = quota.reserve(ClientId(client), bytes(80));
                let held = quota.usage().0.of(Resource::LiveBytes);
                assert!(held <= 150, "{held} bytes are held");
                reserved.map(|mut reservation| {
                    let part = reservation.split(bytes(30)).unwrap();
                    assert!(reservation.split(bytes(51)).is_none());
                    drop(reservation);
                    drop(part);
                })
            }
        };
        let threads = [1, 2].map(|client| thread::spawn(reserve(client, quota.clone())));
        let reserved = threads.map(|thread| thread.join().unwrap().is_ok());
        assert!(reserved.contains(&true), "both were refused");
        assert_eq!(quota.usage(), (Amounts::NONE, Vec::new()));
    });
}

#[test]
fn a_task_ends_once_whoever_comes_first() {
    loom::model(|| {
        let (task, runner) = task::<u32>(CancelToken::default());
        let task = Arc::new(task);
        let worker = thread::spawn(move || {
            let begun = runner.begin();
            if begun {
                runner.finish(7);
            }
            begun
        });
        let other = Arc::clone(&task);
        let canceller = thread::spawn(move || {
            other.cancel();
        });
        task.wait();
        let result = task.take();
        canceller.join().unwrap();
        let expected = if worker.join().unwrap() { Ok(7) } else { Err(NoResult::CancelledInQueue) };
        assert_eq!(result, expected);
        assert_eq!(task.take(), Err(NoResult::Taken));
    });
}

#[test]
fn both_who_wait_wake_and_one_gets_the_result() {
    let mut model = loom::model::Builder::new();
    // All orders of three threads take a minute; those with up to three preemptions a second.
    model.preemption_bound = Some(3);
    model.check(|| {
        let (task, runner) = task::<u32>(CancelToken::default());
        let task = Arc::new(task);
        let waiters = [(); 2].map(|()| {
            let task = Arc::clone(&task);
            thread::spawn(move || {
                task.wait();
                task.take()
            })
        });
        assert!(runner.begin());
        runner.finish(7);
        let mut results = waiters.map(|waiter| waiter.join().unwrap());
        results.sort_by_key(|result| result.is_err());
        assert_eq!(results, [Ok(7), Err(NoResult::Taken)]);
    });
}

#[test]
fn a_lost_worker_ends_the_task() {
    loom::model(|| {
        let (task, runner) = task::<u32>(CancelToken::default());
        let worker = thread::spawn(move || drop((runner.begin(), runner)));
        task.wait();
        assert_eq!(task.take(), Err(NoResult::Lost));
        worker.join().unwrap();
    });
}

#[test]
fn a_dropped_task_tells_its_worker() {
    loom::model(|| {
        let token = CancelToken::default();
        let (task, runner) = task::<u32>(token.clone());
        let client = thread::spawn(move || drop(task));
        let begun = runner.begin();
        client.join().unwrap();
        assert!(token.is_cancelled());
        assert!(begun || !runner.begin(), "it began after it was cancelled");
    });
}

fn flow(client: u32) -> Flow {
    Flow { client: ClientId(client), priority: Priority::Normal }
}

#[test]
fn a_turn_is_for_one_at_a_time_and_comes_to_all() {
    loom::model(|| {
        let turns = Turns::new(1);
        let moving = std::sync::Arc::new(AtomicUsize::new(0));
        let work = |client| {
            let (turns, moving) = (turns.clone(), std::sync::Arc::clone(&moving));
            move || {
                let turn = turns.take(flow(client), 1, || Ok::<(), ()>(())).unwrap();
                assert_eq!(moving.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                thread::yield_now();
                moving.fetch_sub(1, Ordering::SeqCst);
                turns.give_back(turn);
            }
        };
        let others = [1, 2].map(|client| thread::spawn(work(client)));
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(turns.waiting(), 0);
        let free = turns.take(flow(0), 1, || Err::<(), ()>(()));
        assert!(free.is_ok(), "a turn was lost");
    });
}

/// Who gives up in the moment of its turn hands it on.
#[test]
fn a_turn_given_up_is_not_lost() {
    loom::model(|| {
        let turns = Turns::new(1);
        let held = turns.take(flow(CLIENT.0), 1, || Ok::<(), ()>(())).unwrap();
        let impatient = {
            let turns = turns.clone();
            thread::spawn(move || turns.take(flow(1), 1, || Err::<(), ()>(())))
        };
        turns.give_back(held);
        if let Ok(turn) = impatient.join().unwrap() {
            turns.give_back(turn);
        }
        assert_eq!(turns.waiting(), 0);
        assert!(turns.take(flow(2), 1, || Err::<(), ()>(())).is_ok(), "the turn was lost");
    });
}
