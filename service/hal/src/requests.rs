// SPDX-License-Identifier: Apache-2.0
//! Requests within the quota of their client: sized, reserved, run.

use std::sync::Arc;

use dmabuf_engine::request::{LoadRequest, SaveRequest};
use dmabuf_engine::{ClientId, Context, Engine, LoadOutcome, SaveOutcome};
use dmabuf_scheduler::ledger::{Amounts, Limits, Resource};
use dmabuf_scheduler::quota::{Quota, Reservation};

use crate::error::Result;

/// Requests of up to so many bytes do not count as in flight: the number of threads bounds them.
const UNCOUNTED_BYTES: u64 = 64 << 10;

/// The engine, and what clients may use of it. Clones share both.
#[derive(Clone)]
pub(crate) struct Requests {
    engine: Arc<Engine>,
    quota: Quota,
}

impl Requests {
    pub(crate) fn new(engine: Arc<Engine>, limits: Limits) -> Self {
        Self { engine, quota: Quota::new(limits) }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Reserves an amount of a resource for a client, until the reservation is dropped.
    pub(crate) fn reserve(
        &self,
        client: ClientId,
        resource: Resource,
        amount: u64,
    ) -> Result<Reservation> {
        Ok(self.quota.reserve(client, Amounts::NONE.with(resource, amount))?)
    }

    fn in_flight(&self, client: ClientId, bytes: u64) -> Result<Option<Reservation>> {
        let counts = bytes > UNCOUNTED_BYTES;
        counts.then(|| self.reserve(client, Resource::InFlightBytes, bytes)).transpose()
    }

    /// Loads. `sized` is told how many bytes the request is going to move.
    pub(crate) fn load(
        &self,
        request: LoadRequest,
        context: &Context,
        sized: impl FnOnce(u64),
    ) -> Result<LoadOutcome> {
        let prepared = self.engine.prepare_load(request, context)?;
        let bytes = prepared.total_bytes();
        let _in_flight = self.in_flight(context.client, bytes)?;
        sized(bytes);
        Ok(self.engine.run_load(prepared, context)?)
    }

    /// Saves, likewise.
    pub(crate) fn save(
        &self,
        request: SaveRequest,
        context: &Context,
        sized: impl FnOnce(u64),
    ) -> Result<SaveOutcome> {
        let prepared = self.engine.prepare_save(request, context)?;
        let bytes = prepared.total_bytes();
        let _in_flight = self.in_flight(context.client, bytes)?;
        sized(bytes);
        Ok(self.engine.run_save(prepared, context)?)
    }
}
