// SPDX-License-Identifier: Apache-2.0
//! What the pool has, has lent, and has done. No I/O and no system calls: it is used under a lock.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::Wish;
use crate::heap::{Allocated, Backing, PageKind};
use crate::request::ClientId;

/// Buffers of one kind can stand for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) heap: String,
    pub(super) pages: Option<PageKind>,
    pub(super) size_bytes: u64,
}

/// What is in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Zero,
    Of(ClientId),
}

/// A buffer that nobody but the pool holds.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) key: Key,
    pub(super) allocated: Allocated,
    pub(super) content: Content,
    pub(super) since: Instant,
}

/// A buffer that a client has, or had.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) fd: OwnedFd,
    pub(super) backing: Option<Backing>,
    pub(super) key: Key,
    pub(super) client: ClientId,
}

/// What a pool has and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Requests that found a buffer.
    pub hits: u64,
    /// Requests that did not.
    pub misses: u64,
    /// Buffers that came back from clients.
    pub returned: u64,
    /// Buffers made ahead of requests.
    pub made: u64,
    /// Buffers given back to the kernel because memory was short or nobody had asked for a while.
    pub given_back: u64,
    /// Bytes cleared off the request path: of buffers made, by the kernel, and of buffers that came back.
    pub cleared_bytes: u64,
    /// Buffers that nobody but the pool holds.
    pub ready: u64,
    /// Their bytes.
    pub ready_bytes: u64,
    /// Buffers that clients have.
    pub lent: u64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ready: Vec<Ready>,
    pub(super) lent: Vec<Lent>,
    /// The kinds that clients have had since the pool was last given back.
    in_use: HashSet<Key>,
    pub(super) last_request: Option<Instant>,
    pub(super) stopping: bool,
    counted: PoolStats,
}

impl State {
    /// The buffer that suits a request best: one that need not be zero if there is one, so that zeroed ones stay.
    pub(super) fn find(&self, key: &Key, wish: Wish) -> Option<usize> {
        let with = |content| {
            self.ready.iter().position(|ready| ready.content == content && ready.key == *key)
        };
        let own = if wish.overwritten { with(Content::Of(wish.client)) } else { None };
        own.or_else(|| with(Content::Zero))
    }

    pub(super) fn take(&mut self, key: &Key, wish: Wish) -> Option<Allocated> {
        self.last_request = Some(Instant::now());
        match self.find(key, wish) {
            Some(index) => {
                self.counted.hits += 1;
                Some(self.ready.swap_remove(index).allocated)
            }
            None => {
                self.counted.misses += 1;
                None
            }
        }
    }

    pub(super) fn lend(&mut self, lent: Lent) {
        self.in_use.insert(lent.key.clone());
        self.lent.push(lent);
    }

    /// A kind that is in use and of which none is ready, where `max_bytes` leave room for one.
    pub(super) fn lacking(&self, max_bytes: u64) -> Option<Key> {
        let room = max_bytes.saturating_sub(self.ready_bytes());
        let is_ready = |key: &Key| self.ready.iter().any(|ready| ready.key == *key);
        let lacks = |key: &&Key| key.size_bytes <= room && !is_ready(key);
        self.in_use.iter().find(lacks).cloned()
    }

    /// Counts and keeps a buffer that the pool has made.
    pub(super) fn add_made(&mut self, ready: Ready) {
        self.counted.made += 1;
        self.add_cleared(ready);
    }

    /// Counts and keeps a buffer that has just been cleared.
    pub(super) fn add_cleared(&mut self, ready: Ready) {
        self.counted.cleared_bytes += ready.key.size_bytes;
        self.ready.push(ready);
    }

    /// Keeps a buffer that came back, or gives it back to be dropped where that would be over the cap.
    pub(super) fn add_returned(&mut self, ready: Ready, max_bytes: u64) -> Option<Ready> {
        self.counted.returned += 1;
        if self.ready_bytes() + ready.key.size_bytes > max_bytes {
            return Some(ready);
        }
        self.ready.push(ready);
        None
    }

    /// Takes out a buffer that has held a client's bytes since before `before`.
    pub(super) fn take_uncleared(&mut self, before: Instant) -> Option<Ready> {
        let index = self
            .ready
            .iter()
            .position(|ready| ready.content != Content::Zero && ready.since < before)?;
        Some(self.ready.swap_remove(index))
    }

    /// Empties the pool; what it had is to be dropped after the lock.
    pub(super) fn give_back(&mut self) -> Vec<Ready> {
        self.in_use.clear();
        self.counted.given_back += self.ready.len() as u64;
        std::mem::take(&mut self.ready)
    }

    fn ready_bytes(&self) -> u64 {
        self.ready.iter().map(|ready| ready.key.size_bytes).sum()
    }

    pub(super) fn stats(&self) -> PoolStats {
        PoolStats {
            ready: self.ready.len() as u64,
            ready_bytes: self.ready_bytes(),
            lent: self.lent.len() as u64,
            ..self.counted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{BufferName, Heaps, Purpose};

    const SIZE_BYTES: u64 = 8192;

    fn key() -> Key {
        Key { heap: "memfd".to_owned(), pages: Some(PageKind::Base), size_bytes: SIZE_BYTES }
    }

    fn ready(content: Content) -> Ready {
        let heaps = Heaps::discover(1 << 20, true);
        let name = BufferName::new("", "test").unwrap();
        let heap = heaps.by_name("memfd").unwrap();
        let pages = Some(PageKind::Base);
        let allocated = heap.allocate_of(SIZE_BYTES, pages, &name, Purpose::Fill).unwrap();
        Ready { key: key(), allocated, content, since: Instant::now() }
    }

    fn wish(client: u32, overwritten: bool) -> Wish {
        let client = ClientId(client);
        Wish { size_bytes: SIZE_BYTES, pages: Some(PageKind::Base), client, overwritten }
    }

    #[test]
    fn a_client_gets_its_own_bytes_back_only_to_overwrite_them() {
        let mut state = State::default();
        state.ready.push(ready(Content::Of(ClientId(1))));
        assert!(state.find(&key(), wish(2, true)).is_none());
        assert!(state.find(&key(), wish(1, false)).is_none());
        assert!(state.take(&key(), wish(1, true)).is_some());
        assert!(state.take(&key(), wish(1, true)).is_none());
        assert_eq!((state.stats().hits, state.stats().misses), (1, 1));
    }

    #[test]
    fn zeroed_buffers_are_for_everybody_and_kept_for_those_who_need_them() {
        let mut state = State::default();
        state.ready.push(ready(Content::Zero));
        state.ready.push(ready(Content::Of(ClientId(1))));
        assert_eq!(state.find(&key(), wish(1, true)), Some(1));
        assert_eq!(state.find(&key(), wish(1, false)), Some(0));
        assert_eq!(state.find(&key(), wish(2, true)), Some(0));
        let other = Key { size_bytes: 4096, ..key() };
        assert_eq!(state.find(&other, wish(2, true)), None);
    }

    #[test]
    fn of_each_kind_in_use_one_should_be_ready() {
        let mut state = State::default();
        assert_eq!(state.lacking(1 << 20), None);
        let fd = ready(Content::Zero).allocated.buffer.fd;
        state.lend(Lent { fd, backing: None, key: key(), client: ClientId(1) });
        assert_eq!(state.lacking(1 << 20), Some(key()));
        assert_eq!(state.lacking(SIZE_BYTES - 1), None);
        state.add_made(ready(Content::Zero));
        assert_eq!(state.lacking(1 << 20), None);
        assert!(state.take(&key(), wish(1, true)).is_some());
        assert_eq!(state.lacking(1 << 20), Some(key()));
        // What comes back counts.
        assert!(state.add_returned(ready(Content::Of(ClientId(1))), 1 << 20).is_none());
        assert_eq!(state.lacking(1 << 20), None);
        assert_eq!(state.give_back().len(), 1);
        assert_eq!((state.stats().ready, state.stats().given_back), (0, 1));
        assert_eq!(state.lacking(1 << 20), None);
    }

    #[test]
    fn what_comes_back_over_the_cap_is_dropped() {
        let mut state = State::default();
        assert!(state.add_returned(ready(Content::Zero), SIZE_BYTES).is_none());
        assert!(state.add_returned(ready(Content::Zero), SIZE_BYTES).is_some());
        assert_eq!((state.stats().ready, state.stats().ready_bytes), (1, SIZE_BYTES));
    }

    #[test]
    fn only_old_bytes_of_clients_are_cleared() {
        let mut state = State::default();
        state.ready.push(ready(Content::Zero));
        state.ready.push(ready(Content::Of(ClientId(1))));
        let before = state.ready[0].since;
        assert!(state.take_uncleared(before).is_none());
        let uncleared = state.take_uncleared(Instant::now()).unwrap();
        assert_eq!(uncleared.content, Content::Of(ClientId(1)));
        assert!(state.take_uncleared(Instant::now()).is_none());
    }
}
