// SPDX-License-Identifier: Apache-2.0
//! How far a load has come, for those who follow it while it goes on.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::runs::Run;

/// The place in the buffer up to which each run is loaded.
#[derive(Debug)]
pub(crate) struct Watermarks {
    marks: Mutex<Vec<Mark>>,
    changed: Condvar,
    run_of_segment: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    reached_bytes: u64,
    state: RunState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunState {
    Moving,
    Ended,
    /// Nothing that follows it matters any more.
    Failed,
}

impl Watermarks {
    /// Of the runs of so many segments.
    pub(crate) fn new(runs: &[Run], segments: usize) -> Self {
        let mut run_of_segment = vec![0; segments];
        for (number, run) in runs.iter().enumerate() {
            run.indices.iter().for_each(|index| run_of_segment[*index] = number);
        }
        let mark = |run: &Run| Mark {
            reached_bytes: run.range.buffer_offset_bytes,
            state: RunState::Moving,
        };
        let marks = Mutex::new(runs.iter().map(mark).collect());
        Self { marks, changed: Condvar::new(), run_of_segment }
    }

    fn marks(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run is loaded up to a place in the buffer.
    pub(crate) fn reach(&self, run: usize, buffer_offset_bytes: u64) {
        let mut marks = self.marks();
        marks[run].reached_bytes = marks[run].reached_bytes.max(buffer_offset_bytes);
        drop(marks);
        self.changed.notify_all();
    }

    /// A run is loaded up to a place in the buffer, and no more of it will be.
    pub(crate) fn end(&self, run: usize, buffer_offset_bytes: u64) {
        let ended = Mark { reached_bytes: buffer_offset_bytes, state: RunState::Ended };
        self.marks()[run] = ended;
        self.changed.notify_all();
    }

    /// The load goes no further. If a run has not ended, all of it has failed.
    pub(crate) fn close(&self) {
        let mut marks = self.marks();
        if marks.iter().any(|mark| mark.state == RunState::Moving) {
            marks.iter_mut().for_each(|mark| mark.state = RunState::Failed);
        }
        drop(marks);
        self.changed.notify_all();
    }

    /// Waits until a segment is loaded beyond a place in the buffer, and returns up to where; no further than `after`
    /// if that was its end. `None` if the load has failed.
    pub(crate) fn wait_beyond(&self, segment: usize, after_bytes: u64) -> Option<u64> {
        let run = self.run_of_segment[segment];
        let waits = |marks: &mut Vec<Mark>| {
            marks[run].state == RunState::Moving && marks[run].reached_bytes <= after_bytes
        };
        let waited = self.changed.wait_while(self.marks(), waits);
        let mark = waited.unwrap_or_else(PoisonError::into_inner)[run];
        (mark.state != RunState::Failed).then_some(mark.reached_bytes.max(after_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ResolvedSegment;

    fn run(buffer_offset_bytes: u64, len_bytes: u64, indices: &[usize]) -> Run {
        let range =
            ResolvedSegment { file_index: 0, file_offset_bytes: 0, buffer_offset_bytes, len_bytes };
        Run { range, indices: indices.into() }
    }

    #[test]
    fn a_follower_sees_how_far_its_run_is() {
        let marks = Watermarks::new(&[run(100, 50, &[1, 2]), run(0, 10, &[0])], 3);
        marks.reach(0, 120);
        assert_eq!(marks.wait_beyond(1, 100), Some(120));
        assert_eq!(marks.wait_beyond(2, 110), Some(120));
        marks.end(1, 7);
        assert_eq!(marks.wait_beyond(0, 0), Some(7));
        assert_eq!(marks.wait_beyond(0, 7), Some(7));
        marks.reach(0, 110);
        assert_eq!(marks.wait_beyond(1, 0), Some(120));
    }

    #[test]
    fn a_load_that_is_closed_has_failed_unless_every_run_has_ended() {
        let marks = Watermarks::new(&[run(0, 50, &[0]), run(50, 10, &[1])], 2);
        marks.end(0, 50);
        marks.end(1, 60);
        marks.close();
        assert_eq!((marks.wait_beyond(0, 0), marks.wait_beyond(1, 50)), (Some(50), Some(60)));

        let marks = Watermarks::new(&[run(0, 50, &[0]), run(50, 10, &[1])], 2);
        marks.end(0, 50);
        marks.close();
        assert_eq!((marks.wait_beyond(0, 0), marks.wait_beyond(1, 50)), (None, None));
    }

    #[test]
    fn a_follower_wakes_when_there_is_more_and_when_the_load_fails() {
        let marks = Watermarks::new(&[run(0, 50, &[0])], 1);
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| (marks.wait_beyond(0, 0), marks.wait_beyond(0, 20)));
            marks.reach(0, 20);
            std::thread::sleep(std::time::Duration::from_millis(5));
            marks.close();
            let (first, second) = follower.join().unwrap();
            assert!(first == Some(20) || first.is_none());
            assert_eq!(second, None);
        });
    }
}
