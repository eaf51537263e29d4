// SPDX-License-Identifier: Apache-2.0
//! How the bytes of a request moved, and why not by a cheaper path.

use std::time::Duration;

use crate::io_path::{IoPath, NotTaken};

/// The report of a load or a save.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    moved: Vec<(IoPath, u64)>,
    /// The cheaper paths that were not taken, each with its first reason.
    pub not_taken: Vec<NotTaken>,
    /// Time spent allocating.
    pub allocate: Duration,
    /// Time spent moving bytes.
    pub transfer: Duration,
    /// How much longer than moving the bytes the digest took.
    pub verify: Duration,
    /// Time spent on exporting the buffer: unmapping its memory, or tracking it for the pool.
    pub export: Duration,
}

impl Report {
    /// Counts bytes for a path. The first path counted wins a tie, so that the planned path is
    /// counted first, with 0 if need be.
    pub(super) fn count(&mut self, path: IoPath, bytes: u64) {
        match self.moved.iter_mut().find(|(other, _)| *other == path) {
            Some((_, sum)) => *sum += bytes,
            None => self.moved.push((path, bytes)),
        }
    }

    /// Adds a reason, once per path.
    pub(super) fn explain(&mut self, not_taken: &NotTaken) {
        if !self.not_taken.iter().any(|other| other.path == not_taken.path) {
            self.not_taken.push(not_taken.clone());
        }
    }

    /// The path that moved most bytes.
    pub fn path(&self) -> Option<IoPath> {
        let most = self.moved.iter().map(|(_, bytes)| *bytes).max()?;
        self.moved.iter().find(|(_, bytes)| *bytes == most).map(|(path, _)| *path)
    }

    /// The paths that moved the bytes, and how many each.
    pub fn moved_bytes(&self) -> &[(IoPath, u64)] {
        &self.moved
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
        let of_kind = self.moved.iter().filter(|(path, _)| path.is_direct() == direct);
        of_kind.map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io_path::Refusal;

    #[test]
    fn the_path_with_most_bytes_is_reported() {
        let [direct, .., buffered] = IoPath::CHEAPEST_FIRST;
        let mut report = Report::default();
        assert_eq!(report.path(), None);
        report.count(direct, 0);
        report.count(buffered, 0);
        assert_eq!(report.path(), Some(direct));
        report.count(buffered, 5);
        assert_eq!(report.path(), Some(buffered));
        report.count(direct, 6);
        assert_eq!(report.path(), Some(direct));
        assert_eq!((report.direct_bytes(), report.buffered_bytes()), (6, 5));
    }

    #[test]
    fn each_path_is_explained_once() {
        let mut report = Report::default();
        for refusal in [Refusal::NotDirect, Refusal::NotPermitted] {
            report.explain(&NotTaken { path: IoPath::Buffered, refusal });
        }
        assert_eq!(report.not_taken.len(), 1);
        assert_eq!(report.not_taken[0].refusal, Refusal::NotDirect);
    }
}
