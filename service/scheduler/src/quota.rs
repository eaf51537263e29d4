// SPDX-License-Identifier: Apache-2.0
//! The [`Ledger`] shared between threads, and reservations that end by themselves.

use dmabuf_engine::ClientId;

use crate::ledger::{Amounts, Ledger, Limits, QuotaExceeded};
use crate::sync::{lock, Arc, Mutex};

/// A ledger that threads share. Clones are the same ledger.
#[derive(Clone, Debug)]
pub struct Quota(Arc<Mutex<Ledger>>);

impl Quota {
    /// A quota of which nothing is used.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Ledger::new(limits))))
    }

    /// Reserves amounts for a client, all of them or none, until the reservation is dropped.
    ///
    /// # Errors
    /// [`QuotaExceeded`], and nothing is reserved.
    pub fn reserve(
        &self,
        client: ClientId,
        amounts: Amounts,
    ) -> Result<Reservation, QuotaExceeded> {
        lock(&self.0).reserve(client, &amounts)?;
        Ok(Reservation { ledger: Arc::clone(&self.0), client, amounts })
    }

    /// How much a client may hold.
    pub fn limits(&self, client: ClientId) -> Amounts {
        *lock(&self.0).limits().of(client)
    }

    /// What a client holds.
    pub fn held(&self, client: ClientId) -> Amounts {
        lock(&self.0).held(client)
    }

    /// What all clients hold together, and each that holds anything, by uid.
    pub fn usage(&self) -> (Amounts, Vec<(ClientId, Amounts)>) {
        let ledger = lock(&self.0);
        let all = ledger.held_by_all();
        let mut clients: Vec<_> = ledger.clients().map(|(client, held)| (client, *held)).collect();
        drop(ledger);
        clients.sort_unstable_by_key(|(client, _)| client.0);
        (all, clients)
    }
}

/// Amounts that a client holds. They are given back once, when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    ledger: Arc<Mutex<Ledger>>,
    client: ClientId,
    amounts: Amounts,
}

impl Reservation {
    /// What is reserved.
    pub fn amounts(&self) -> Amounts {
        self.amounts
    }

    /// Takes a part out, which then ends by itself; `None` where less is reserved.
    #[must_use]
    pub fn split(&mut self, part: Amounts) -> Option<Self> {
        self.amounts = self.amounts.checked_sub(&part)?;
        Some(Self { ledger: Arc::clone(&self.ledger), client: self.client, amounts: part })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let released = lock(&self.ledger).release(self.client, &self.amounts);
        debug_assert!(released, "{:?} of {:?} were released twice", self.amounts, self.client);
    }
}
