// SPDX-License-Identifier: Apache-2.0
//! The order of what waits. Pure: no lock, no clock.
//!
//! Stride scheduling on two levels. Each priority has a pass, which grows by what it is served
//! divided by its weight, and the priority with the lowest pass is next: a more urgent one gets a
//! larger share, and none starves. Within a priority the same goes for clients, of equal weight;
//! what one client has queued is served in the order in which it came. Who has had nothing for a
//! while begins at the pass of the others: it is next, but has saved up nothing.

use std::collections::{HashMap, VecDeque};

use dmabuf_engine::{ClientId, Priority};

/// Who waits, and how urgently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The client.
    pub client: ClientId,
    /// The priority of its request.
    pub priority: Priority,
}

/// Names what is in a queue, so that it can be removed. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The most urgent first.
const PRIORITIES: [Priority; 3] = [Priority::LatencyCritical, Priority::Normal, Priority::Bulk];

/// By how much the pass of a priority grows for each unit of cost: its share is the inverse.
fn stride(priority: Priority) -> u64 {
    match priority {
        Priority::LatencyCritical => 1,
        Priority::Normal => 4,
        Priority::Bulk => 16,
    }
}

#[derive(Debug)]
struct Entry<T> {
    ticket: Ticket,
    cost: u64,
    item: T,
}

#[derive(Debug)]
struct OfClient<T> {
    pass: u64,
    entries: VecDeque<Entry<T>>,
}

/// What waits with one priority.
#[derive(Debug)]
struct Class<T> {
    priority: Priority,
    pass: u64,
    /// The pass of the client that was served last.
    reached: u64,
    clients: HashMap<ClientId, OfClient<T>>,
    len: usize,
}

impl<T> Class<T> {
    fn new(priority: Priority) -> Self {
        Self { priority, pass: 0, reached: 0, clients: HashMap::new(), len: 0 }
    }

    fn push(&mut self, client: ClientId, entry: Entry<T>) {
        let reached = self.reached;
        let new = || OfClient { pass: reached, entries: VecDeque::new() };
        let of_client = self.clients.entry(client).or_insert_with(new);
        of_client.pass = of_client.pass.max(reached);
        of_client.entries.push_back(entry);
        self.len += 1;
    }

    /// The client with the lowest pass that may be served; of equal ones the one that waits
    /// longest.
    fn next_client(&self, may_be_served: &impl Fn(Flow) -> bool) -> Option<ClientId> {
        let waiting = self.clients.iter().filter_map(|(client, of_client)| {
            let first = of_client.entries.front()?;
            let flow = Flow { client: *client, priority: self.priority };
            may_be_served(flow).then_some((of_client.pass, first.ticket, *client))
        });
        waiting.min_by_key(|(pass, ticket, _)| (*pass, *ticket)).map(|(_, _, client)| client)
    }

    fn pop(&mut self, client: ClientId) -> Option<Entry<T>> {
        let of_client = self.clients.get_mut(&client)?;
        let entry = of_client.entries.pop_front()?;
        self.reached = self.reached.max(of_client.pass);
        self.len -= 1;
        self.charge(client, entry.cost);
        Some(entry)
    }

    fn charge(&mut self, client: ClientId, cost: u64) {
        let reached = self.reached;
        let new = || OfClient { pass: reached, entries: VecDeque::new() };
        let of_client = self.clients.entry(client).or_insert_with(new);
        of_client.pass = of_client.pass.saturating_add(cost);
        self.pass = self.pass.saturating_add(cost.saturating_mul(stride(self.priority)));
        self.forget();
    }

    fn remove(&mut self, client: ClientId, ticket: Ticket) -> Option<Entry<T>> {
        let of_client = self.clients.get_mut(&client)?;
        let index = of_client.entries.iter().position(|entry| entry.ticket == ticket)?;
        let entry = of_client.entries.remove(index)?;
        self.len -= 1;
        self.forget();
        Some(entry)
    }

    /// Forgets clients that wait for nothing, and would begin at the pass of the others or have no
    /// others beside them.
    fn forget(&mut self) {
        let (reached, others) = (self.reached, self.len > 0);
        self.clients.retain(|_, of_client| {
            !of_client.entries.is_empty() || (others && of_client.pass > reached)
        });
    }
}

/// A queue with a fair order.
#[derive(Debug)]
pub struct FairQueue<T> {
    classes: [Class<T>; PRIORITIES.len()],
    /// The pass of the priority that was served last.
    reached: u64,
    next_ticket: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { classes: PRIORITIES.map(Class::new), reached: 0, next_ticket: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Adds what is going to use `cost` units, bytes say, of what is shared.
    pub fn push(&mut self, flow: Flow, cost: u64, item: T) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let reached = self.reached;
        let class = self.class(flow.priority);
        if class.len == 0 {
            class.pass = class.pass.max(reached);
        }
        class.push(flow.client, Entry { ticket, cost: cost.max(1), item });
        ticket
    }

    /// Takes what is next.
    pub fn pop(&mut self) -> Option<T> {
        self.pop_where(|_| true).map(|(_, item)| item)
    }

    /// Takes what is next of the flows that may be served now.
    pub fn pop_where(&mut self, may_be_served: impl Fn(Flow) -> bool) -> Option<(Flow, T)> {
        let next = self.classes.iter_mut().filter_map(|class| {
            let client = class.next_client(&may_be_served)?;
            Some((client, class))
        });
        // The first of equal ones, which is the most urgent.
        let (client, class) = next.min_by_key(|(_, class)| class.pass)?;
        self.reached = self.reached.max(class.pass);
        let flow = Flow { client, priority: class.priority };
        class.pop(client).map(|entry| (flow, entry.item))
    }

    /// Charges a flow that was served for what it cost beyond what it was pushed with.
    pub fn charge(&mut self, flow: Flow, cost: u64) {
        self.class(flow.priority).charge(flow.client, cost);
    }

    /// Takes out what no longer waits; `None` where it was taken already.
    pub fn remove(&mut self, flow: Flow, ticket: Ticket) -> Option<T> {
        self.class(flow.priority).remove(flow.client, ticket).map(|entry| entry.item)
    }

    /// How much waits.
    pub fn len(&self) -> usize {
        self.classes.iter().map(|class| class.len).sum()
    }

    /// Whether several clients wait.
    pub fn has_several_clients(&self) -> bool {
        let clients = self.classes.iter().flat_map(|class| &class.clients);
        let mut waiting = clients.filter(|(_, of_client)| !of_client.entries.is_empty());
        waiting.next().is_some_and(|(first, _)| waiting.any(|(client, _)| client != first))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn class(&mut self, priority: Priority) -> &mut Class<T> {
        let [critical, normal, bulk] = &mut self.classes;
        match priority {
            Priority::LatencyCritical => critical,
            Priority::Normal => normal,
            Priority::Bulk => bulk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(client: u32, priority: Priority) -> Flow {
        Flow { client: ClientId(client), priority }
    }

    fn bulk(client: u32) -> Flow {
        flow(client, Priority::Bulk)
    }

    #[test]
    fn one_client_is_served_in_order() {
        let mut queue = FairQueue::default();
        for item in 0..4 {
            queue.push(bulk(1), 10, item);
        }
        assert_eq!(queue.len(), 4);
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn clients_take_turns_whatever_they_have_queued() {
        let mut queue = FairQueue::default();
        for _ in 0..100 {
            queue.push(bulk(1), 10, 1);
        }
        queue.push(bulk(2), 10, 2);
        queue.push(bulk(2), 10, 2);
        queue.push(bulk(3), 10, 3);
        let order: Vec<_> = (0..6).map(|_| queue.pop().unwrap()).collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 1]);
    }

    #[test]
    fn clients_share_by_cost_and_not_by_number() {
        let mut queue = FairQueue::default();
        for _ in 0..20 {
            queue.push(bulk(1), 400, 1);
            for _ in 0..4 {
                queue.push(bulk(2), 100, 2);
            }
        }
        let mut served = [0, 0, 0];
        for _ in 0..50 {
            let client = queue.pop().unwrap();
            served[client] += [0, 400, 100][client];
        }
        assert_eq!(served[1], served[2]);
    }

    /// A client that never has more than one request in the queue gets no more than its share.
    #[test]
    fn asking_one_by_one_gains_nothing() {
        let mut queue = FairQueue::default();
        for _ in 0..300 {
            for client in 1..=3 {
                queue.push(bulk(client), 10, client);
            }
        }
        queue.push(bulk(9), 10, 9);
        let mut served = HashMap::new();
        for _ in 0..400 {
            let client = queue.pop().unwrap();
            *served.entry(client).or_insert(0) += 1;
            if client == 9 {
                queue.push(bulk(9), 10, 9);
            }
        }
        assert_eq!(served[&9], 100, "{served:?}");
    }

    #[test]
    fn an_urgent_request_overtakes_all_that_waits() {
        let mut queue = FairQueue::default();
        for item in 0..50 {
            queue.push(bulk(item % 5), 1 << 30, "bulk");
            queue.push(flow(item % 5, Priority::Normal), 1 << 30, "normal");
        }
        for _ in 0..30 {
            queue.pop();
        }
        queue.push(flow(3, Priority::LatencyCritical), 1 << 20, "critical");
        assert_eq!(queue.pop(), Some("critical"));
    }

    #[test]
    fn the_urgent_do_not_starve_the_others() {
        let mut queue = FairQueue::default();
        let mut served = HashMap::new();
        for _ in 0..2100 {
            queue.push(flow(1, Priority::LatencyCritical), 10, Priority::LatencyCritical);
            queue.push(flow(2, Priority::Normal), 10, Priority::Normal);
            queue.push(bulk(3), 10, Priority::Bulk);
            *served.entry(queue.pop().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(served[&Priority::LatencyCritical], 1600, "{served:?}");
        assert_eq!(served[&Priority::Normal], 400);
        assert_eq!(served[&Priority::Bulk], 100);
    }

    /// Idle clients and priorities save up nothing for later.
    #[test]
    fn idle_time_is_not_saved_up() {
        let mut queue = FairQueue::default();
        for _ in 0..100 {
            queue.push(bulk(1), 10, 1);
        }
        for _ in 0..50 {
            queue.pop();
        }
        for _ in 0..50 {
            queue.push(bulk(2), 10, 2);
        }
        let next: Vec<_> = (0..10).map(|_| queue.pop().unwrap()).collect();
        assert_eq!(next.iter().filter(|client| **client == 2).count(), 5, "{next:?}");
    }

    #[test]
    fn what_may_not_be_served_waits_without_blocking_others() {
        let mut queue = FairQueue::default();
        queue.push(bulk(1), 10, 'a');
        queue.push(bulk(2), 10, 'b');
        queue.push(flow(1, Priority::LatencyCritical), 10, 'c');
        let of_others = |flow: Flow| flow.client != ClientId(1);
        assert_eq!(queue.pop_where(of_others), Some((bulk(2), 'b')));
        assert_eq!(queue.pop_where(of_others), None);
        assert_eq!([queue.pop(), queue.pop()], [Some('c'), Some('a')]);
    }

    #[test]
    fn what_was_served_is_charged_when_its_cost_is_known() {
        let mut queue = FairQueue::default();
        for _ in 0..4 {
            queue.push(bulk(1), 1, 1);
            queue.push(bulk(2), 1, 2);
        }
        assert_eq!(queue.pop(), Some(1));
        queue.charge(bulk(1), 2);
        let next: Vec<_> = (0..4).map(|_| queue.pop().unwrap()).collect();
        assert_eq!(next, [2, 2, 2, 1]);
    }

    #[test]
    fn what_is_removed_is_not_served() {
        let mut queue = FairQueue::default();
        queue.push(bulk(1), 10, 'a');
        let ticket = queue.push(bulk(1), 10, 'b');
        queue.push(bulk(1), 10, 'c');
        assert_eq!(queue.remove(bulk(1), ticket), Some('b'));
        assert_eq!(queue.remove(bulk(1), ticket), None);
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [Some('a'), Some('c'), None]);
    }

    #[test]
    fn clients_that_are_gone_take_no_memory() {
        let mut queue = FairQueue::default();
        for client in 0..10_000 {
            queue.push(bulk(client), 10, ());
            queue.pop();
        }
        let known: usize = queue.classes.iter().map(|class| class.clients.len()).sum();
        assert!(known <= 2, "{known} clients are remembered");
    }

    /// Whatever is pushed, popped and removed, everything comes out once.
    #[test]
    fn nothing_is_lost_and_nothing_served_twice() {
        let mut rng = fastrand::Rng::with_seed(16);
        let mut queue = FairQueue::default();
        let mut waiting = HashMap::new();
        for item in 0..50_000_u32 {
            match rng.u8(..8) {
                0..=3 => {
                    let priority = rng.choice(PRIORITIES).unwrap();
                    let flow = flow(rng.u32(..5), priority);
                    let ticket = queue.push(flow, rng.u64(..100), item);
                    waiting.insert(item, (flow, ticket));
                }
                4 if !waiting.is_empty() => {
                    let item = *rng.choice(waiting.keys()).unwrap();
                    let (flow, ticket) = waiting.remove(&item).unwrap();
                    assert_eq!(queue.remove(flow, ticket), Some(item));
                }
                _ => {
                    let popped = queue.pop();
                    assert_eq!(popped.is_none(), waiting.is_empty());
                    assert!(popped.is_none_or(|item| waiting.remove(&item).is_some()));
                }
            }
            assert_eq!(queue.len(), waiting.len());
        }
    }
}
