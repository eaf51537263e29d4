// SPDX-License-Identifier: Apache-2.0
//! How the bytes of a request moved, and why not better.

use std::time::Duration;

use smallvec::SmallVec;

use crate::path::Way;
use crate::plan::NotTaken;

/// The report of a load or a save.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    moved: SmallVec<[(Way, u64); 2]>,
    /// The better ways that were not taken, each with its first reason.
    pub not_taken: Vec<NotTaken>,
    /// Time spent allocating.
    pub allocate: Duration,
    /// Time spent moving bytes.
    pub transfer: Duration,
    /// How much longer than moving the bytes the digest took.
    pub verify: Duration,
    /// Time spent on unmapping the buffer's memory before it is handed over.
    pub hand_over: Duration,
}

impl Report {
    /// Counts bytes for a way. The first way counted wins a tie, so the planned way is counted first, with 0 if need be.
    pub(crate) fn count(&mut self, way: Way, bytes: u64) {
        match self.moved.iter_mut().find(|(other, _)| *other == way) {
            Some((_, sum)) => *sum += bytes,
            None => self.moved.push((way, bytes)),
        }
    }

    /// Adds a reason, once per way.
    pub(crate) fn explain(&mut self, not_taken: NotTaken) {
        if !self.not_taken.iter().any(|other| other.way == not_taken.way) {
            self.not_taken.push(not_taken);
        }
    }

    /// Adds the reasons of a plan, which has one for a way.
    pub(crate) fn explain_plan(&mut self, not_taken: Vec<NotTaken>) {
        if self.not_taken.is_empty() {
            self.not_taken = not_taken;
        } else {
            not_taken.into_iter().for_each(|not_taken| self.explain(not_taken));
        }
    }

    /// The way that moved most bytes.
    pub fn way(&self) -> Option<Way> {
        let most = self.moved.iter().map(|(_, bytes)| *bytes).max()?;
        self.moved.iter().find(|(_, bytes)| *bytes == most).map(|(way, _)| *way)
    }

    /// Bytes moved by direct I/O.
    pub fn direct_bytes(&self) -> u64 {
        self.sum(true)
    }

    /// Bytes moved otherwise.
    pub fn buffered_bytes(&self) -> u64 {
        self.sum(false)
    }

    fn sum(&self, direct: bool) -> u64 {
        self.moved.iter().filter(|(way, _)| way.direct == direct).map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Reason, Refusal};

    #[test]
    fn the_way_with_most_bytes_is_reported() {
        let [direct, .., buffered] = Way::BEST_FIRST;
        let mut report = Report::default();
        assert_eq!(report.way(), None);
        report.count(direct, 0);
        report.count(buffered, 0);
        assert_eq!(report.way(), Some(direct));
        report.count(buffered, 5);
        assert_eq!(report.way(), Some(buffered));
        report.count(direct, 6);
        assert_eq!(report.way(), Some(direct));
        assert_eq!((report.direct_bytes(), report.buffered_bytes()), (6, 5));
    }

    #[test]
    fn each_way_is_explained_once() {
        let mut report = Report::default();
        for detail in ["first", "second"] {
            let refusal = Refusal::new(Reason::Unaligned, detail);
            report.explain(NotTaken { way: Way::BEST_FIRST[0], refusal });
        }
        assert_eq!(report.not_taken.len(), 1);
        assert_eq!(&*report.not_taken[0].refusal.detail, "first");
    }
}
