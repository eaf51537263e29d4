// SPDX-License-Identifier: Apache-2.0
//! Requests within the quota of their client: sized, reserved, run.

use std::sync::Arc;

use dmabuf_engine::request::{LoadRequest, NewBuffer, SaveRequest};
use dmabuf_engine::{
    BatchOrder, Buffer, ClientId, Context, Engine, Grant, LoadOutcome, Priority, SaveOutcome,
};
use dmabuf_scheduler::fair_queue::Flow;
use dmabuf_scheduler::ledger::{Amounts, Limits, Resource};
use dmabuf_scheduler::quota::{Quota, Reservation};
use dmabuf_scheduler::turns::{Turn, Turns};
use dmabuf_uapi::process::Process;

use crate::clients::Clients;
use crate::error::Result;

/// Requests of up to so many bytes do not count as in flight: the number of threads bounds them.
const UNCOUNTED_BYTES: u64 = 64 << 10;

/// Large requests that run at a time. More do not make the storage faster; their allocations take
/// the processors from others.
const RUNNING: usize = 4;

/// Batches that move at a time: what one large load has in flight.
const BATCHES: usize = 4;

/// On whose behalf a request runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) context: &'a Context,
    /// The process that waits for the result, and whose death ends the request; `None` for a task,
    /// which ends with its object.
    pub(crate) pid: Option<i32>,
}

/// The batches of one request, of which none begins once its client is dead.
struct ClientBatches {
    batches: Turns,
    process: Option<Process>,
}

impl ClientBatches {
    fn check(&self, context: &Context) -> dmabuf_engine::Result<()> {
        if self.process.as_ref().is_some_and(|process| process.has_ended() == Ok(true)) {
            context.cancel.cancel();
        }
        context.check()
    }
}

impl BatchOrder for ClientBatches {
    fn begin(&self, context: &Context, len_bytes: u64) -> dmabuf_engine::Result<Grant> {
        self.check(context)?;
        let flow = Flow { client: context.client, priority: context.priority };
        self.batches.take(flow, len_bytes, || self.check(context))
    }

    fn end(&self, grant: Grant) {
        self.batches.give_back(grant);
    }
}

/// The engine, what clients may use of it, when, and what they have done. Clones share all.
#[derive(Clone)]
pub(crate) struct Requests {
    engine: Arc<Engine>,
    quota: Quota,
    running: Turns,
    batches: Turns,
    clients: Arc<Clients>,
}

impl Requests {
    pub(crate) fn new(engine: Arc<Engine>, limits: Limits, clients: Arc<Clients>) -> Self {
        let (running, batches) = (Turns::new(RUNNING), Turns::new(BATCHES));
        Self { engine, quota: Quota::new(limits), running, batches, clients }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Of the large requests that are to run.
    pub(crate) fn running(&self) -> &Turns {
        &self.running
    }

    /// Of the batches that are to move.
    pub(crate) fn batches(&self) -> &Turns {
        &self.batches
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

    /// Waits for the turn of a request of so many bytes; a small one needs none.
    fn begin(
        &self,
        bytes: u64,
        context: &Context,
        may_go_on: impl Fn() -> dmabuf_engine::Result<()>,
    ) -> Result<Option<Turn<'_>>> {
        let flow = Flow { client: context.client, priority: context.priority };
        let is_large = bytes > UNCOUNTED_BYTES;
        Ok(is_large.then(|| self.running.hold(flow, bytes, may_go_on)).transpose()?)
    }

    /// Runs a request of so many bytes. Large ones wait for their turn, and move batch by batch as
    /// those of others do; latency-critical ones make the others' batches short. Both end with the
    /// process that waits for them.
    fn run<T>(
        &self,
        caller: Caller<'_>,
        bytes: u64,
        run: impl FnOnce(&Context) -> dmabuf_engine::Result<T>,
    ) -> Result<T> {
        let Caller { context, pid } = caller;
        let is_large = bytes > UNCOUNTED_BYTES;
        if !is_large && context.priority != Priority::LatencyCritical {
            return Ok(run(context)?);
        }
        let order = ClientBatches {
            batches: self.batches.clone(),
            // A client that is gone by now has nobody to wait for the result.
            process: pid.and_then(|pid| Process::of_pid(pid).ok()),
        };
        let _running = self.begin(bytes, context, || order.check(context))?;
        // What waits has no memory yet.
        let in_flight =
            is_large.then(|| self.reserve(context.client, Resource::InFlightBytes, bytes));
        let _in_flight = in_flight.transpose()?;
        Ok(run(&Context { order: Some(Arc::new(order)), ..context.clone() })?)
    }

    /// Allocates.
    pub(crate) fn allocate(&self, new: &NewBuffer, context: &Context) -> Result<Buffer> {
        let _running = self.begin(new.size_bytes, context, || context.check())?;
        Ok(self.engine.allocate(new, context)?)
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
        sized(bytes);
        let outcome = self.run(caller, bytes, |context| self.engine.run_load(prepared, context))?;
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
        sized(bytes);
        let outcome = self.run(caller, bytes, |context| self.engine.run_save(prepared, context))?;
        self.clients.completed(context.client, &outcome.report);
        Ok(outcome)
    }
}
