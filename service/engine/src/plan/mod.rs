// SPDX-License-Identifier: Apache-2.0
//! The plan of a request: which memory a new buffer is made of, which paths may move each extent,
//! and why not a cheaper one. Pure: no I/O, so that tests can try every combination.
//!
//! A request is planned once, before anything is allocated. What the kernel refuses later moves an
//! extent down its list of candidates; it does not make another plan.

mod candidates;
pub(crate) mod cost;
mod division;
mod facts;
mod memory;
mod steps;

use crate::error::Result;
use crate::request::Extent;

pub(crate) use candidates::no_path;
pub(crate) use division::{divide, unaligned_path};
pub(crate) use facts::{BufferFacts, MemoryOption, RequestFacts};
pub(crate) use memory::Alternative;
pub(crate) use steps::{PlannedExtent, Step, MAX_COALESCED_BYTES};

/// Plans a load into a new buffer: the memory to try, in order, and the steps for each.
///
/// # Errors
/// Where the policy, or a file, leaves no path: [`EngineError::DirectIoUnavailable`],
/// [`EngineError::PathUnavailable`] or [`EngineError::BadArgument`].
///
/// [`EngineError::DirectIoUnavailable`]: crate::EngineError::DirectIoUnavailable
/// [`EngineError::PathUnavailable`]: crate::EngineError::PathUnavailable
/// [`EngineError::BadArgument`]: crate::EngineError::BadArgument
pub(crate) fn plan_new(
    request: &RequestFacts<'_>,
    extents: &[Extent],
    options: Vec<MemoryOption>,
) -> Result<Vec<Alternative>> {
    memory::alternatives(request, extents, options)
}

/// Plans a load into a buffer that exists, or a save.
///
/// # Errors
/// As for [`plan_new`].
pub(crate) fn plan_existing(
    request: &RequestFacts<'_>,
    extents: &[Extent],
    buffer: &BufferFacts,
) -> Result<Vec<Step>> {
    steps::steps(request, extents, buffer)
}
