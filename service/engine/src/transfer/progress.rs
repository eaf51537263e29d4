// SPDX-License-Identifier: Apache-2.0
//! How far a transfer has come: for whoever watches the request, and for the digest, which follows
//! the load.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::context::{Progress, ProgressSink};
use crate::request::Extent;

/// Up to where each extent has been moved without a gap.
pub(crate) struct TransferProgress {
    state: Mutex<State>,
    changed: Condvar,
    extent_of_segment: Vec<usize>,
    sink: Option<Arc<dyn ProgressSink>>,
}

struct State {
    extents: Vec<ExtentProgress>,
    sum: Progress,
}

/// One extent. Bytes are counted from its start.
#[derive(Debug)]
struct ExtentProgress {
    /// Where it begins in the buffer.
    buffer_offset_bytes: u64,
    /// Moved without a gap.
    reached: u64,
    /// Moved before what lies in front of it.
    early: Vec<Range<u64>>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Moving,
    Ended,
    /// The transfer ended before the extent did.
    Failed,
}

impl ExtentProgress {
    /// Adds a range; returns by how much the extent has advanced.
    fn add(&mut self, range: Range<u64>) -> u64 {
        let before = self.reached;
        if range.start > self.reached {
            self.early.push(range);
            return 0;
        }
        self.reached = self.reached.max(range.end);
        while let Some(next) = self.early.iter().position(|early| early.start <= self.reached) {
            self.reached = self.reached.max(self.early.swap_remove(next).end);
        }
        self.reached - before
    }
}

impl TransferProgress {
    /// Of the extents of so many segments.
    pub(super) fn new<'e>(
        extents: impl Iterator<Item = &'e Extent>,
        segments: usize,
        sink: Option<Arc<dyn ProgressSink>>,
    ) -> Self {
        let mut extent_of_segment = vec![0; segments];
        let mut total_bytes: u64 = 0;
        let extents = extents
            .enumerate()
            .map(|(number, extent)| {
                extent.segments.iter().for_each(|index| extent_of_segment[*index] = number);
                total_bytes = total_bytes.saturating_add(extent.range.len_bytes);
                ExtentProgress {
                    buffer_offset_bytes: extent.range.buffer_offset_bytes,
                    reached: 0,
                    early: Vec::new(),
                    phase: Phase::Moving,
                }
            })
            .collect();
        let sum = Progress { moved_bytes: 0, total_bytes };
        let state = Mutex::new(State { extents, sum });
        Self { state, changed: Condvar::new(), extent_of_segment, sink }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A range of an extent, counted from its start, has been moved.
    pub(super) fn moved(&self, extent: usize, range: Range<u64>) {
        let mut state = self.state();
        let advanced = state.extents[extent].add(range);
        if advanced > 0 {
            self.advance(&mut state, advanced);
        }
    }

    /// The path that moved an extent has given up after what it moved without a gap: another one
    /// moves the rest, whatever was moved behind the gap.
    pub(super) fn forget_early(&self, extent: usize) {
        self.state().extents[extent].early.clear();
    }

    /// An extent has ended after so many bytes.
    pub(super) fn end(&self, extent: usize, bytes: u64) {
        let mut state = self.state();
        let ended = &mut state.extents[extent];
        ended.phase = Phase::Ended;
        let advanced = bytes.saturating_sub(ended.reached);
        ended.reached = bytes;
        ended.early.clear();
        self.advance(&mut state, advanced);
    }

    fn advance(&self, state: &mut State, bytes: u64) {
        state.sum.moved_bytes += bytes;
        if let (Some(sink), true) = (&self.sink, bytes > 0) {
            sink.on_progress(state.sum);
        }
        self.changed.notify_all();
    }

    /// The transfer goes no further. If an extent has not ended, the transfer has failed.
    pub(super) fn close(&self) {
        let mut state = self.state();
        if state.extents.iter().any(|extent| extent.phase == Phase::Moving) {
            state.extents.iter_mut().for_each(|extent| extent.phase = Phase::Failed);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until a segment is loaded beyond a place in the buffer, and returns up to where; no
    /// further than `after_bytes` if that was its end. `None` if the load has failed.
    pub(super) fn wait_beyond(&self, segment: usize, after_bytes: u64) -> Option<u64> {
        let number = self.extent_of_segment[segment];
        let place = |extent: &ExtentProgress| extent.buffer_offset_bytes + extent.reached;
        let waits = |state: &mut State| {
            let extent = &state.extents[number];
            extent.phase == Phase::Moving && place(extent) <= after_bytes
        };
        let waited = self.changed.wait_while(self.state(), waits);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        let extent = &state.extents[number];
        (extent.phase != Phase::Failed).then(|| place(extent).max(after_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ResolvedSegment;

    fn extent(buffer_offset_bytes: u64, len_bytes: u64, segments: &[usize]) -> Extent {
        let range =
            ResolvedSegment { file_index: 0, file_offset_bytes: 0, buffer_offset_bytes, len_bytes };
        Extent { range, segments: segments.into() }
    }

    fn progress(extents: &[Extent], segments: usize) -> TransferProgress {
        TransferProgress::new(extents.iter(), segments, None)
    }

    #[test]
    fn a_digest_sees_how_far_its_extent_is() {
        let progress = progress(&[extent(100, 50, &[1, 2]), extent(0, 10, &[0])], 3);
        progress.moved(0, 0..20);
        assert_eq!(progress.wait_beyond(1, 100), Some(120));
        assert_eq!(progress.wait_beyond(2, 110), Some(120));
        progress.end(1, 7);
        assert_eq!(progress.wait_beyond(0, 0), Some(7));
        assert_eq!(progress.wait_beyond(0, 7), Some(7));
        progress.moved(0, 0..10);
        assert_eq!(progress.wait_beyond(1, 0), Some(120));
    }

    #[test]
    fn ranges_count_when_all_before_them_are_moved() {
        let progress = progress(&[extent(0, 50, &[0])], 1);
        progress.moved(0, 10..20);
        progress.moved(0, 30..40);
        assert_eq!(progress.state().sum.moved_bytes, 0);
        progress.moved(0, 0..10);
        assert_eq!(progress.wait_beyond(0, 0), Some(20));
        progress.moved(0, 20..30);
        assert_eq!(progress.wait_beyond(0, 20), Some(40));
    }

    #[test]
    fn what_a_path_moved_behind_a_gap_is_moved_again() {
        let progress = progress(&[extent(0, 50, &[0])], 1);
        progress.moved(0, 0..5);
        progress.moved(0, 10..50);
        progress.forget_early(0);
        progress.moved(0, 5..10);
        assert_eq!(progress.wait_beyond(0, 0), Some(10), "the rest is zero until moved again");
    }

    #[test]
    fn a_sink_is_told_growing_sums() {
        struct Sink(Mutex<Vec<u64>>);
        impl ProgressSink for Sink {
            fn on_progress(&self, progress: Progress) {
                assert_eq!(progress.total_bytes, 60);
                self.0.lock().unwrap().push(progress.moved_bytes);
            }
        }
        let sink = Arc::new(Sink(Mutex::default()));
        let extents = [extent(0, 50, &[0]), extent(50, 10, &[1])];
        let told: Arc<dyn ProgressSink> = Arc::clone(&sink) as Arc<dyn ProgressSink>;
        let progress = TransferProgress::new(extents.iter(), 2, Some(told));
        progress.moved(0, 20..50);
        progress.moved(0, 0..20);
        progress.end(0, 50);
        progress.end(1, 10);
        assert_eq!(*sink.0.lock().unwrap(), [50, 60]);
    }

    #[test]
    fn a_closed_load_has_failed_unless_all_extents_ended() {
        let extents = [extent(0, 50, &[0]), extent(50, 10, &[1])];
        let all = progress(&extents, 2);
        all.end(0, 50);
        all.end(1, 10);
        all.close();
        assert_eq!((all.wait_beyond(0, 0), all.wait_beyond(1, 50)), (Some(50), Some(60)));

        let one = progress(&extents, 2);
        one.end(0, 50);
        one.close();
        assert_eq!((one.wait_beyond(0, 0), one.wait_beyond(1, 50)), (None, None));
    }

    #[test]
    fn a_digest_wakes_when_there_is_more_and_on_failure() {
        let progress = progress(&[extent(0, 50, &[0])], 1);
        std::thread::scope(|scope| {
            let digest = scope.spawn(|| (progress.wait_beyond(0, 0), progress.wait_beyond(0, 20)));
            progress.moved(0, 0..20);
            std::thread::sleep(std::time::Duration::from_millis(5));
            progress.close();
            let (first, second) = digest.join().unwrap();
            assert!(first == Some(20) || first.is_none());
            assert_eq!(second, None);
        });
    }
}
