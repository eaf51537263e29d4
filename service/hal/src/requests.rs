// SPDX-License-Identifier: Apache-2.0
//! Requests within the quota of their client: sized, reserved, run.

use std::borrow::Cow;
use std::sync::Arc;

use dmabuf_engine::request::{LoadRequest, SaveRequest};
use dmabuf_engine::{
    BatchOrder, ClientId, Context, Engine, Grant, LoadOutcome, Priority, SaveOutcome,
};
use dmabuf_scheduler::ledger::{Amounts, Limits, Resource};
use dmabuf_scheduler::quota::{Quota, Reservation};
use dmabuf_scheduler::turns::Turns;
use dmabuf_uapi::process::Process;

use crate::clients::Clients;
use crate::error::Result;

/// Requests of up to so many bytes do not count as in flight: the number of threads bounds them.
const UNCOUNTED_BYTES: u64 = 64 << 10;

/// Batches that move at a time: what one large load has in flight.
const TURNS: usize = 4;

/// On whose behalf a request runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) context: &'a Context,
    /// The process that waits for the result, and whose death ends the request; `None` for a task,
    /// which ends with its object.
    pub(crate) pid: Option<i32>,
}

/// The turns of one request, which has none once its client is dead.
struct ClientBatches {
    turns: Turns,
    process: Option<Process>,
}

impl BatchOrder for ClientBatches {
    fn begin(&self, context: &Context, len_bytes: u64) -> dmabuf_engine::Result<Grant> {
        if self.process.as_ref().is_some_and(|process| process.has_ended() == Ok(true)) {
            context.cancel.cancel();
        }
        context.check()?;
        self.turns.begin(context, len_bytes)
    }

    fn end(&self, grant: Grant) {
        self.turns.end(grant);
    }
}

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
    /// of others, and end with its client, if they take long or others are to make way for them.
    fn ordered<'c>(&self, caller: Caller<'c>, bytes: u64) -> Cow<'c, Context> {
        let Caller { context, pid } = caller;
        if bytes <= UNCOUNTED_BYTES && context.priority != Priority::LatencyCritical {
            return Cow::Borrowed(context);
        }
        let order = ClientBatches {
            turns: self.turns.clone(),
            // A client that is gone by now has nobody to wait for the result.
            process: pid.and_then(|pid| Process::of_pid(pid).ok()),
        };
        Cow::Owned(Context { order: Some(Arc::new(order)), ..context.clone() })
    }

    /// Loads. `sized` is told how many bytes the request is going to move.
    pub(crate) fn load(
        &self,
        request: LoadRequest,
        caller: Caller<'_>,
        sized: impl FnOnce(u64),
    ) -> Result<LoadOutcome> {
        let context = caller.context;
        let prepared = self.engine.prepare_load(request, context)?;
        let bytes = prepared.total_bytes();
        let _in_flight = self.in_flight(context.client, bytes)?;
        sized(bytes);
        let outcome = self.engine.run_load(prepared, &self.ordered(caller, bytes))?;
        self.clients.completed(context.client, &outcome.report);
        Ok(outcome)
    }

    /// Saves, likewise.
    pub(crate) fn save(
        &self,
        request: SaveRequest,
        caller: Caller<'_>,
        sized: impl FnOnce(u64),
    ) -> Result<SaveOutcome> {
        let context = caller.context;
        let prepared = self.engine.prepare_save(request, context)?;
        let bytes = prepared.total_bytes();
        let _in_flight = self.in_flight(context.client, bytes)?;
        sized(bytes);
        let outcome = self.engine.run_save(prepared, &self.ordered(caller, bytes))?;
        self.clients.completed(context.client, &outcome.report);
        Ok(outcome)
    }
}
