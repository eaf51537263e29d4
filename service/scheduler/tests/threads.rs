// SPDX-License-Identifier: Apache-2.0
//! Tasks and turns with real threads and real time.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use dmabuf_engine::{CancelToken, ClientId, Priority};
use dmabuf_scheduler::fair_queue::Flow;
use dmabuf_scheduler::task::{task, NoResult};
use dmabuf_scheduler::turns::Turns;

const SOON: Duration = Duration::from_millis(30);
const LATE: Duration = Duration::from_secs(60);

fn flow(client: u32, priority: Priority) -> Flow {
    Flow { client: ClientId(client), priority }
}

#[test]
fn waiting_ends_at_its_timeout() {
    let (task, runner) = task::<()>(CancelToken::default());
    let begun = Instant::now();
    assert!(!task.wait_for(SOON));
    assert!(begun.elapsed() >= SOON);
    assert_eq!(task.take(), Err(NoResult::NotEnded));
    assert!(!task.has_ended());
    assert!(runner.begin());
    assert!(!task.wait_for(Duration::ZERO));
    runner.finish(());
    for timeout in [Duration::ZERO, LATE, Duration::MAX] {
        assert!(task.wait_for(timeout));
    }
    assert_eq!(task.take(), Ok(()));
    assert!(task.has_ended());
}

#[test]
fn a_task_cancelled_in_the_queue_ends_at_once() {
    let token = CancelToken::default();
    let (task, runner) = task::<()>(token.clone());
    assert!(task.cancel() && !task.cancel());
    task.wait();
    assert_eq!(task.take(), Err(NoResult::CancelledInQueue));
    assert!(token.is_cancelled());
    assert!(!runner.begin());
}

#[test]
fn a_running_task_ends_when_its_worker_says_so() {
    let token = CancelToken::default();
    let (task, runner) = task(token.clone());
    assert!(runner.begin());
    assert!(!task.cancel());
    assert!(!task.end_in_queue(NoResult::LateInQueue));
    assert!(token.is_cancelled() && !task.has_ended());
    runner.finish("ended early");
    assert_eq!(task.take(), Ok("ended early"));
}

#[test]
fn waiting_for_a_turn_ends_when_told() {
    let turns = Turns::new(1);
    let held = turns.take(flow(1, Priority::Bulk), 1, || Ok::<_, ()>(())).unwrap();
    let begun = Instant::now();
    let late = || if begun.elapsed() < SOON { Ok(()) } else { Err("late") };
    assert_eq!(turns.take(flow(2, Priority::Bulk), 1, late).map(drop), Err("late"));
    assert_eq!(turns.waiting(), 0);
    turns.give_back(held);
    assert!(turns.take(flow(2, Priority::Bulk), 1, || Err("no turn is free")).is_ok());
}

#[test]
fn the_urgent_get_the_next_turn() {
    let turns = Turns::new(1);
    let held = turns.take(flow(1, Priority::Bulk), 1, || Ok::<_, ()>(())).unwrap();
    let (sender, order) = mpsc::channel();
    thread::scope(|scope| {
        for (number, priority) in
            [(1, Priority::Bulk), (2, Priority::Bulk), (3, Priority::LatencyCritical)]
        {
            let (own, sender) = (turns.clone(), sender.clone());
            scope.spawn(move || {
                let turn = own.take(flow(number, priority), 1 << 20, || Ok::<_, ()>(()));
                sender.send(number).unwrap();
                own.give_back(turn.unwrap());
            });
            // In this order into the queue.
            while turns.waiting() < number as usize {
                thread::sleep(Duration::from_millis(1));
            }
        }
        turns.give_back(held);
    });
    drop(sender);
    assert_eq!(order.iter().collect::<Vec<_>>(), [3, 1, 2]);
}

/// A client whose storage has stalled does not keep the turns from the others.
#[test]
fn a_stalled_turn_makes_way() {
    let turns = Turns::new(1);
    let stalled = turns.take(flow(1, Priority::Bulk), 1, || Ok::<_, ()>(())).unwrap();
    let begun = Instant::now();
    let late = || if begun.elapsed() < LATE { Ok(()) } else { Err("late") };
    let other = turns.take(flow(2, Priority::Bulk), 1, late).unwrap();
    assert_eq!(turns.overdue(), 1);
    turns.give_back(stalled);
    assert_eq!(turns.overdue(), 0);
    turns.give_back(other);
}
