// SPDX-License-Identifier: Apache-2.0
//! What a caller asks for. Requests own their fds and strings, so that they can be queued and run
//! on any thread.

mod digest;
mod extent;
mod policy;
mod segment;

use std::os::fd::OwnedFd;

pub(crate) use digest::check_verity_indices;
pub use digest::{DigestRequest, FileDigest, Sha256};
pub(crate) use extent::{covered_bytes, filled_ranges, merge_adjacent, Extent};
pub use policy::{PathList, Policy};
pub(crate) use segment::{
    check_buffer_ranges, check_counts, check_targets_in_buffer, check_targets_in_files, resolve,
};
pub use segment::{Length, ResolvedSegment, Segment, MAX_FILES, MAX_SEGMENTS};

/// A buffer to be allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewBuffer {
    /// The heap's name, empty for any.
    pub heap: String,
    /// Size in bytes; in a load 0 means as large as the segments need.
    pub size_bytes: u64,
    /// Debug name, empty for the default.
    pub name: String,
}

/// Where a load puts the bytes.
#[derive(Debug)]
pub enum Target {
    /// Into a buffer to be allocated.
    New(NewBuffer),
    /// Into the caller's buffer.
    Existing(OwnedFd),
}

/// A load.
#[derive(Debug)]
pub struct LoadRequest {
    /// Where the bytes go.
    pub target: Target,
    /// The files.
    pub files: Vec<OwnedFd>,
    /// The ranges.
    pub segments: Vec<Segment>,
    /// Which paths are permitted.
    pub policy: Policy,
    /// Digests to compare and to report.
    pub digests: DigestRequest,
}

impl LoadRequest {
    /// A load by the cheapest path, which compares and reports no digest.
    pub fn new(target: Target, files: Vec<OwnedFd>, segments: Vec<Segment>) -> Self {
        let digests = DigestRequest::default();
        Self { target, files, segments, policy: Policy::AUTO, digests }
    }
}

/// A save.
#[derive(Debug)]
pub struct SaveRequest {
    /// The buffer.
    pub buffer: OwnedFd,
    /// The files.
    pub files: Vec<OwnedFd>,
    /// The ranges.
    pub segments: Vec<Segment>,
    /// Which paths are permitted.
    pub policy: Policy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_can_be_queued_for_another_thread() {
        fn can_be_queued<T: Send + 'static>() {}
        can_be_queued::<LoadRequest>();
        can_be_queued::<SaveRequest>();
    }
}
