// SPDX-License-Identifier: Apache-2.0
//! What clients hold, against what they may hold. Pure: no lock, no clock.

use std::collections::HashMap;
use std::fmt;

use dmabuf_engine::ClientId;
use thiserror::Error;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Bytes of buffers that a client, or whoever it gave them to, still holds.
    LiveBytes,
    /// Bytes that requests under way have yet to move.
    InFlightBytes,
    /// Buffers that a client, or whoever it gave them to, still holds.
    Buffers,
    /// Requests that wait for their turn.
    QueuedRequests,
    /// Tasks whose client has not dropped them.
    OpenTasks,
    /// Calls that may block a thread, and have not returned.
    BlockingCalls,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::LiveBytes,
        Self::InFlightBytes,
        Self::Buffers,
        Self::QueuedRequests,
        Self::OpenTasks,
        Self::BlockingCalls,
    ];

    /// Those that the service counts.
    pub const COUNTED: [Self; 4] =
        [Self::InFlightBytes, Self::QueuedRequests, Self::OpenTasks, Self::BlockingCalls];

    fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LiveBytes => "bytes of live buffers",
            Self::InFlightBytes => "bytes in flight",
            Self::Buffers => "live buffers",
            Self::QueuedRequests => "queued requests",
            Self::OpenTasks => "open tasks",
            Self::BlockingCalls => "blocking calls",
        })
    }
}

/// An amount of each resource: bytes or a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts([u64; Resource::ALL.len()]);

impl Amounts {
    /// Nothing.
    pub const NONE: Self = Self([0; Resource::ALL.len()]);
    /// As a limit: none.
    pub const UNLIMITED: Self = Self([u64::MAX; Resource::ALL.len()]);

    /// The same with another amount of one resource.
    #[must_use]
    pub fn with(mut self, resource: Resource, amount: u64) -> Self {
        self.0[resource.index()] = amount;
        self
    }

    /// The amount of a resource.
    pub fn of(&self, resource: Resource) -> u64 {
        self.0[resource.index()]
    }

    /// Both together; `None` where a sum does not fit.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let mut sum = *self;
        for (amount, added) in sum.0.iter_mut().zip(other.0) {
            *amount = amount.checked_add(added)?;
        }
        Some(sum)
    }

    /// What is left without the other; `None` where that has more.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        let mut rest = *self;
        for (amount, taken) in rest.0.iter_mut().zip(other.0) {
            *amount = amount.checked_sub(taken)?;
        }
        Some(rest)
    }
}

/// Whose limit is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// That of one client.
    Client,
    /// That of all clients together.
    AllClients,
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Client => "the client",
            Self::AllClients => "all clients together",
        })
    }
}

/// A reservation over a limit. Nothing was reserved.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("quota: {asked} more {resource} asked for, {scope} holds {held} of at most {limit}")]
pub struct QuotaExceeded {
    /// What is exceeded.
    pub resource: Resource,
    /// By whom.
    pub scope: Scope,
    /// How much was asked for.
    pub asked: u64,
    /// How much is held.
    pub held: u64,
    /// How much may be held.
    pub limit: u64,
}

/// How much may be held.
#[derive(Clone, Debug)]
pub struct Limits {
    /// By each client that has no limits of its own.
    pub client: Amounts,
    /// By clients that have.
    pub clients: HashMap<ClientId, Amounts>,
    /// By all clients together.
    pub all: Amounts,
}

impl Limits {
    /// How much a client may hold.
    pub fn of(&self, client: ClientId) -> &Amounts {
        self.clients.get(&client).unwrap_or(&self.client)
    }
}

/// What each client holds.
#[derive(Debug)]
pub struct Ledger {
    limits: Limits,
    /// Of the clients that hold anything: few, so that looking for one takes less than hashing.
    held: Vec<(ClientId, Amounts)>,
    all: Amounts,
}

impl Ledger {
    /// A ledger in which nobody holds anything.
    pub fn new(limits: Limits) -> Self {
        Self { limits, held: Vec::new(), all: Amounts::NONE }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts amounts as held by a client: all of them or none.
    ///
    /// # Errors
    /// [`QuotaExceeded`] with the first resource that would exceed a limit, the client's before
    /// that of all.
    pub fn reserve(&mut self, client: ClientId, amounts: &Amounts) -> Result<(), QuotaExceeded> {
        let held = self.held(client);
        let of_client = sum_within(Scope::Client, &held, amounts, self.limits.of(client))?;
        self.all = sum_within(Scope::AllClients, &self.all, amounts, &self.limits.all)?;
        self.set_held(client, of_client);
        Ok(())
    }

    /// Counts amounts as no longer held. What was not reserved is not given back: the ledger then
    /// stays as it is, and the answer is `false`.
    pub fn release(&mut self, client: ClientId, amounts: &Amounts) -> bool {
        let rests = (self.held(client).checked_sub(amounts), self.all.checked_sub(amounts));
        let (Some(of_client), Some(all)) = rests else { return false };
        self.all = all;
        self.set_held(client, of_client);
        true
    }

    /// What a client holds.
    pub fn held(&self, client: ClientId) -> Amounts {
        self.place(client).map_or(Amounts::NONE, |place| self.held[place].1)
    }

    /// What all clients hold together.
    pub fn held_by_all(&self) -> Amounts {
        self.all
    }

    /// The clients that hold anything, in no order.
    pub fn clients(&self) -> impl Iterator<Item = (ClientId, &Amounts)> {
        self.held.iter().map(|(client, held)| (*client, held))
    }

    /// Clients that hold nothing take no memory.
    fn set_held(&mut self, client: ClientId, held: Amounts) {
        match self.place(client) {
            Some(place) if held == Amounts::NONE => {
                self.held.swap_remove(place);
            }
            Some(place) => self.held[place].1 = held,
            None if held == Amounts::NONE => {}
            None => self.held.push((client, held)),
        }
    }

    fn place(&self, client: ClientId) -> Option<usize> {
        self.held.iter().position(|(other, _)| *other == client)
    }
}

fn sum_within(
    scope: Scope,
    held: &Amounts,
    asked: &Amounts,
    limits: &Amounts,
) -> Result<Amounts, QuotaExceeded> {
    let mut sum = *held;
    // What is over a limit already, say live buffers, must not refuse what adds nothing to it.
    for resource in Resource::ALL.into_iter().filter(|resource| asked.of(*resource) > 0) {
        let (held, asked, limit) = (held.of(resource), asked.of(resource), limits.of(resource));
        match held.checked_add(asked).filter(|sum| *sum <= limit) {
            Some(both) => sum = sum.with(resource, both),
            None => return Err(QuotaExceeded { resource, scope, asked, held, limit }),
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId(1000);
    const B: ClientId = ClientId(1001);

    fn bytes(live: u64, buffers: u64) -> Amounts {
        Amounts::NONE.with(Resource::LiveBytes, live).with(Resource::Buffers, buffers)
    }

    fn ledger() -> Ledger {
        let client = bytes(100, 2);
        let clients = HashMap::from([(B, bytes(200, 2))]);
        let all = Amounts::UNLIMITED.with(Resource::LiveBytes, 250);
        Ledger::new(Limits { client, clients, all })
    }

    #[test]
    fn a_client_holds_up_to_its_limit() {
        let mut ledger = ledger();
        assert_eq!(ledger.reserve(A, &bytes(60, 1)), Ok(()));
        let error = ledger.reserve(A, &bytes(41, 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "quota: 41 more bytes of live buffers asked for, the client holds 60 of at most 100"
        );
        assert_eq!(ledger.reserve(A, &bytes(40, 1)), Ok(()));
        let error = ledger.reserve(A, &bytes(0, 1)).unwrap_err();
        assert_eq!((error.resource, error.held, error.limit), (Resource::Buffers, 2, 2));
    }

    #[test]
    fn a_refused_reservation_counts_nothing() {
        let mut ledger = ledger();
        assert!(ledger.reserve(A, &bytes(10, 3)).is_err());
        assert_eq!((ledger.held(A), ledger.held_by_all()), (Amounts::NONE, Amounts::NONE));
        assert_eq!(ledger.clients().count(), 0);
    }

    #[test]
    fn all_clients_together_have_a_limit() {
        let mut ledger = ledger();
        assert_eq!(ledger.reserve(B, &bytes(200, 1)), Ok(()));
        let error = ledger.reserve(A, &bytes(51, 1)).unwrap_err();
        assert_eq!((error.scope, error.held, error.limit), (Scope::AllClients, 200, 250));
        assert_eq!(ledger.held(A), Amounts::NONE);
        assert!(ledger.release(B, &bytes(200, 1)));
        assert_eq!(ledger.reserve(A, &bytes(51, 1)), Ok(()));
    }

    #[test]
    fn sums_that_do_not_fit_are_refused() {
        let unlimited = Amounts::UNLIMITED;
        let limits = Limits { client: unlimited, clients: HashMap::new(), all: unlimited };
        let mut ledger = Ledger::new(limits);
        assert_eq!(ledger.reserve(A, &bytes(u64::MAX, 0)), Ok(()));
        assert!(ledger.reserve(A, &bytes(1, 0)).is_err());
        assert!(ledger.reserve(B, &bytes(1, 0)).is_err());
    }

    #[test]
    fn what_was_not_reserved_is_not_released() {
        let mut ledger = ledger();
        ledger.reserve(A, &bytes(10, 1)).unwrap();
        for (client, amounts) in [(A, bytes(11, 0)), (B, bytes(1, 0)), (A, bytes(10, 2))] {
            assert!(!ledger.release(client, &amounts));
            assert_eq!((ledger.held(A), ledger.held_by_all()), (bytes(10, 1), bytes(10, 1)));
        }
        assert!(ledger.release(A, &bytes(10, 1)));
        assert!(!ledger.release(A, &bytes(10, 1)), "a second time");
        assert_eq!(ledger.clients().count(), 0);
    }
}
