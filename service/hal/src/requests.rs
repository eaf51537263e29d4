// SPDX-License-Identifier: Apache-2.0
//! Requests within the quota of their client: sized, reserved, run.

use std::borrow::Cow;
use std::sync::Arc;

use dmabuf_engine::request::{LoadRequest, SaveRequest};
use dmabuf_engine::{ClientId, Context, Engine, LoadOutcome, Priority, SaveOutcome};
use dmabuf_scheduler::ledger::{Amounts, Limits, Resource};
use dmabuf_scheduler::quota::{Quota, Reservation};
use dmabuf_scheduler::turns::Turns;

use crate::clients::Clients;
use crate::error::Result;

/// Requests of up to so many bytes do not count as in flight: the number of threads bounds them.
const UNCOUNTED_BYTES: u64 = 64 << 10;

/// Batches that move at a time: what one large load has in flight.
const TURNS: usize = 4;

/// The engine, what clients may use of it, when, and what they have done. Clones share all.
#[derive(Clone)]
pub(crate) struct Requests {
    engine: Arc<Engine>,
    quota: Quota,
    turns: Turns,
    clients: Arc<Clients>,
}

impl Requests {
    pub(crate) fn new(engine: Arc<Engine>, limits: Limits, clients: Arc<Clients>) -> Self {
        Self { engine, quota: Quota::new(limits), turns: Turns::new(TURNS), clients }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
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

    /// Counts a call that may block its thread, until the reservation is dropped.
    pub(crate) fn begin_call(&self, client: ClientId) -> Result<Reservation> {
        self.reserve(client, Resource::BlockingCalls, 1)
    }

    fn in_flight(&self, client: ClientId, bytes: u64) -> Result<Option<Reservation>> {
        let counts = bytes > UNCOUNTED_BYTES;
        counts.then(|| self.reserve(client, Resource::InFlightBytes, bytes)).transpose()
    }

    /// The context with which a request of so many bytes runs: its batches are ordered among those
    /// of others if they take long, or if others are to make way for them.
    fn ordered<'c>(&self, context: &'c Context, bytes: u64) -> Cow<'c, Context> {
        if bytes <= UNCOUNTED_BYTES && context.priority != Priority::LatencyCritical {
            return Cow::Borrowed(context);
        }
        let turns = Arc::new(self.turns.clone());
        Cow::Owned(Context { order: Some(turns), ..context.clone() })
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
        let outcome = self.engine.run_load(prepared, &self.ordered(context, bytes))?;
        self.clients.completed(context.client, &outcome.report);
        Ok(outcome)
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
        let outcome = self.engine.run_save(prepared, &self.ordered(context, bytes))?;
        self.clients.completed(context.client, &outcome.report);
        Ok(outcome)
    }
}
