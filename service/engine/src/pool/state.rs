// SPDX-License-Identifier: Apache-2.0
//! What the pool has, has lent, and has done. No I/O and no system calls: it is used under a lock.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::Wish;
use crate::buffer::{Buffer, BufferKind, BufferView};
use crate::heap::{Allocated, Backing, BufferName, Kept, PageKind};
use crate::request::ClientId;

/// Buffers that may come back, at most: each takes two fds, and one that is looked at takes its time.
const MAX_LENT: usize = 128;

/// Up to here to map a buffer and clear it costs more than to make a new one. Of such the pool keeps only what a client may
/// overwrite itself.
pub(super) const SMALL_BUFFER_BYTES: u64 = 256 << 10;

/// Whether a buffer of so many bytes costs less from the pool, cleared, than anew.
pub(super) fn is_worth_clearing(size_bytes: u64) -> bool {
    size_bytes > SMALL_BUFFER_BYTES
}

/// A kind of buffer, each of which can stand for the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) heap: Arc<str>,
    pub(super) pages: Option<PageKind>,
    pub(super) size_bytes: u64,
}

impl Key {
    /// Whether a buffer of it costs less from the pool, cleared, than anew.
    pub(super) fn is_worth_clearing(&self) -> bool {
        is_worth_clearing(self.size_bytes)
    }
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
    pub(super) buffer: Kept,
    pub(super) backing: Option<Backing>,
    pub(super) content: Content,
    pub(super) since: Instant,
}

impl Ready {
    /// The buffer as the paths see it.
    pub(super) fn view(&self) -> BufferView<'_> {
        let view = BufferView::new(self.buffer.as_fd(), self.key.size_bytes, BufferKind::DmaBuf);
        BufferView { backing: self.backing.as_ref(), ..view }
    }

    /// The buffer of this name with an fd for a client; `None` where there is no fd left.
    pub(super) fn into_allocated(mut self, name: &BufferName) -> Option<Allocated> {
        let fd = self.buffer.as_fd().try_clone_to_owned().ok()?;
        if self.content == Content::Zero {
            // Another client may have named it.
            self.buffer.forget_name();
        }
        self.buffer.rename(name);
        let Key { heap, pages, size_bytes } = self.key;
        Some(Allocated {
            buffer: Buffer { fd, size_bytes, heap: heap.to_string(), device_shareable: true },
            backing: self.backing,
            pages,
            is_zero: self.content == Content::Zero,
            kept: Some(self.buffer),
        })
    }
}

/// A buffer that a client has, or had.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) buffer: Kept,
    pub(super) backing: Option<Backing>,
    pub(super) key: Key,
    pub(super) client: ClientId,
}

impl Lent {
    /// Whether nobody else holds it any more.
    pub(super) fn is_released(&self) -> bool {
        self.buffer.is_released()
    }

    /// The buffer with what its client has left in it.
    pub(super) fn into_ready(self, since: Instant) -> Ready {
        let Self { buffer, backing, key, client } = self;
        Ready { key, buffer, backing, content: Content::Of(client), since }
    }
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
    /// Buffers given back to the kernel because memory was short or nobody had asked for a while, small ones after a second.
    pub given_back: u64,
    /// Bytes cleared off the request path: of buffers made, by the kernel, and of buffers that came back.
    pub cleared_bytes: u64,
    /// Buffers that nobody but the pool holds.
    pub ready: u64,
    /// Their bytes.
    pub ready_bytes: u64,
    /// Buffers that clients have and that may come back.
    pub lent: u64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ready: Vec<Ready>,
    pub(super) lent: Vec<Lent>,
    /// The kinds that clients have had since the pool was last given back, and that are made ahead.
    in_use: HashSet<Key>,
    pub(super) last_request: Option<Instant>,
    /// When the pool's thread looks again; `None` where it waits for a buffer to be lent.
    pub(super) next_look: Option<Instant>,
    pub(super) stopping: bool,
    counted: PoolStats,
}

impl State {
    /// The buffer that suits a request best: one that need not be zero if there is one, so that zeroed ones stay.
    pub(super) fn find(&self, key: &Key, wish: Wish) -> Option<usize> {
        let own = Content::Of(wish.client);
        let own = if wish.overwritten { self.find_with(key, own) } else { None };
        own.or_else(|| self.find_with(key, Content::Zero))
    }

    fn find_with(&self, key: &Key, content: Content) -> Option<usize> {
        self.ready.iter().position(|ready| ready.content == content && ready.key == *key)
    }

    pub(super) fn take(&mut self, key: &Key, wish: Wish) -> Option<Ready> {
        self.last_request = Some(wish.now);
        match self.find(key, wish) {
            Some(index) => {
                self.counted.hits += 1;
                Some(self.ready.swap_remove(index))
            }
            None => {
                self.counted.misses += 1;
                None
            }
        }
    }

    /// Remembers a buffer that a client gets, or gives it back to be dropped where too many are remembered. Of small ones,
    /// which are looked at late, as many as the pool might keep: until then one that is remembered takes memory.
    pub(super) fn lend(&mut self, lent: Lent, max_bytes: u64) -> Option<Lent> {
        let is_small = !lent.key.is_worth_clearing();
        if !is_small && !self.in_use.contains(&lent.key) {
            self.in_use.insert(lent.key.clone());
        }
        let no_room = is_small && self.small_lent_bytes() + lent.key.size_bytes > max_bytes;
        if no_room || self.lent.len() >= MAX_LENT {
            return Some(lent);
        }
        self.lent.push(lent);
        None
    }

    /// Takes out the buffer that a client has had for longest, of those of a heap and a size, to be put back with
    /// [`State::still_lent`].
    pub(super) fn take_lent(
        &mut self,
        heap: &str,
        size_bytes: u64,
        client: ClientId,
    ) -> Option<Lent> {
        let is_one = |Lent { key, client: whose, .. }: &Lent| {
            (*whose, key.size_bytes) == (client, size_bytes) && *key.heap == *heap
        };
        let index = self.lent.iter().position(is_one)?;
        Some(self.lent.remove(index))
    }

    /// Puts a buffer behind those that are looked at before it.
    pub(super) fn still_lent(&mut self, lent: Lent) {
        self.lent.push(lent);
    }

    /// Whether there is nothing to look for, to clear or to make.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.lent.is_empty() && self.in_use.is_empty()
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

    /// Counts a buffer that is not kept any longer.
    pub(super) fn count_given_back(&mut self) {
        self.counted.given_back += 1;
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

    fn small_lent_bytes(&self) -> u64 {
        let small = self.lent.iter().filter(|lent| !lent.key.is_worth_clearing());
        small.map(|lent| lent.key.size_bytes).sum()
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
    use std::os::fd::AsRawFd;

    use dmabuf_uapi::memfd::create_sealed;

    use super::*;

    const SIZE_BYTES: u64 = 1 << 20;
    const ROOM_BYTES: u64 = 4 << 20;

    fn key() -> Key {
        Key { heap: "memfd".into(), pages: Some(PageKind::Base), size_bytes: SIZE_BYTES }
    }

    fn buffer() -> Kept {
        Kept::new(create_sealed(c"test", SIZE_BYTES).unwrap(), false).unwrap()
    }

    fn ready(content: Content) -> Ready {
        Ready { key: key(), buffer: buffer(), backing: None, content, since: Instant::now() }
    }

    fn lent(client: u32) -> Lent {
        Lent { buffer: buffer(), backing: None, key: key(), client: ClientId(client) }
    }

    fn wish(client: u32, overwritten: bool) -> Wish {
        let client = ClientId(client);
        Wish {
            size_bytes: SIZE_BYTES,
            pages: Some(PageKind::Base),
            client,
            overwritten,
            now: Instant::now(),
        }
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
        let other = Key { size_bytes: SIZE_BYTES / 2, ..key() };
        assert_eq!(state.find(&other, wish(2, true)), None);
    }

    #[test]
    fn of_each_kind_in_use_one_should_be_ready() {
        let mut state = State::default();
        assert_eq!(state.lacking(4 << 20), None);
        assert!(state.lend(lent(1), ROOM_BYTES).is_none());
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
    fn what_a_client_has_had_for_longest_is_looked_at_first() {
        let mut state = State::default();
        for client in [1, 2, 1] {
            assert!(state.lend(lent(client), ROOM_BYTES).is_none());
        }
        let second = state.lent[2].buffer.as_fd().as_raw_fd();
        let first = state.take_lent("memfd", SIZE_BYTES, ClientId(1)).unwrap();
        assert!(state.take_lent("memfd", SIZE_BYTES, ClientId(3)).is_none());
        state.still_lent(first);
        let next = state.take_lent("memfd", SIZE_BYTES, ClientId(1)).unwrap();
        assert_eq!(next.buffer.as_fd().as_raw_fd(), second);
        assert_eq!(next.into_ready(Instant::now()).content, Content::Of(ClientId(1)));
    }

    #[test]
    fn only_so_many_buffers_are_remembered() {
        let mut state = State::default();
        for _ in 0..MAX_LENT {
            assert!(state.lend(lent(1), ROOM_BYTES).is_none());
        }
        assert!(state.lend(lent(1), ROOM_BYTES).is_some());
        assert_eq!(state.stats().lent, MAX_LENT as u64);
    }

    #[test]
    fn of_small_buffers_only_so_many_bytes_are_remembered() {
        let mut state = State::default();
        let small = || Lent { key: Key { size_bytes: SMALL_BUFFER_BYTES, ..key() }, ..lent(1) };
        assert!(state.lend(small(), 2 * SMALL_BUFFER_BYTES).is_none());
        assert!(state.lend(small(), 2 * SMALL_BUFFER_BYTES).is_none());
        assert!(state.lend(small(), 2 * SMALL_BUFFER_BYTES).is_some());
        // Large ones are looked at soon.
        assert!(state.lend(lent(1), 2 * SMALL_BUFFER_BYTES).is_none());
    }

    #[test]
    fn small_buffers_are_not_made_ahead() {
        let mut state = State::default();
        let key = Key { size_bytes: SMALL_BUFFER_BYTES, ..key() };
        assert!(state.lend(Lent { key, ..lent(1) }, ROOM_BYTES).is_none());
        assert_eq!(state.lacking(1 << 20), None);
    }

    #[test]
    fn an_empty_pool_has_nothing_to_do() {
        let mut state = State::default();
        assert!(state.is_empty());
        assert!(state.lend(lent(1), ROOM_BYTES).is_none());
        assert!(!state.is_empty());
        state.lent.clear();
        // A kind that is in use is to be ready.
        assert!(!state.is_empty());
        state.give_back();
        assert!(state.is_empty());
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
