// SPDX-License-Identifier: Apache-2.0
//! Which buffers of the pool are free, which are in use, and what has been done. It makes no system
//! call: it is used under a lock.

use std::collections::HashSet;
use std::time::Instant;

use super::alloc_request::{AllocRequest, Key};
use super::buffers::{Content, Free, InUse};
use super::pressure::PressureWatch;
use super::stats::PoolStats;
use crate::context::ClientId;

/// Buffers in use that are tracked, at most: each takes two fds, and looking at it takes time.
const MAX_IN_USE: usize = 128;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) free: Vec<Free>,
    pub(super) in_use: Vec<InUse>,
    /// The kinds of which one is to be free: those that clients have had since the pool last
    /// shrank.
    made_ahead: HashSet<Key>,
    pub(super) last_request: Option<Instant>,
    /// When the pool's thread looks again; `None` where it waits for a buffer to be tracked.
    pub(super) next_look: Option<Instant>,
    pub(super) stopping: bool,
    pub(super) pressure: PressureWatch,
    counted: PoolStats,
}

impl State {
    /// The buffer that suits a request best: its client's own where that may be overwritten, so
    /// that zeroed ones stay for others.
    pub(super) fn find(&self, key: &Key, request: AllocRequest) -> Option<usize> {
        let own = Content::Of(request.client);
        let own = if request.overwritten { self.find_with(key, own) } else { None };
        own.or_else(|| self.find_with(key, Content::Zero))
    }

    fn find_with(&self, key: &Key, content: Content) -> Option<usize> {
        self.free.iter().position(|free| free.content == content && free.key == *key)
    }

    pub(super) fn take(&mut self, key: &Key, request: AllocRequest) -> Option<Free> {
        self.last_request = Some(request.now);
        match self.find(key, request) {
            Some(index) => {
                self.counted.hits += 1;
                Some(self.free.swap_remove(index))
            }
            None => {
                self.counted.misses += 1;
                None
            }
        }
    }

    /// Tracks a buffer that a client gets, or returns it to be dropped where too many are tracked.
    /// Of small ones, which are looked at late, the pool tracks as many bytes as it might keep.
    /// Without its thread it tracks none.
    pub(super) fn track(&mut self, in_use: InUse, max_bytes: u64) -> Option<InUse> {
        if self.stopping {
            return Some(in_use);
        }
        let is_small = !in_use.key.pays_to_zero();
        if !is_small && !self.made_ahead.contains(&in_use.key) {
            self.made_ahead.insert(in_use.key.clone());
        }
        let no_room = is_small && self.small_in_use_bytes() + in_use.key.size_bytes > max_bytes;
        if no_room || self.in_use.len() >= MAX_IN_USE {
            return Some(in_use);
        }
        self.in_use.push(in_use);
        None
    }

    /// Takes out the oldest buffer of a heap and a size that went to a client, to be put back with
    /// [`State::put_back`].
    pub(super) fn take_in_use(
        &mut self,
        heap: &str,
        size_bytes: u64,
        client: ClientId,
    ) -> Option<InUse> {
        let is_one = |InUse { key, client: whose, .. }: &InUse| {
            (*whose, key.size_bytes) == (client, size_bytes) && *key.heap == *heap
        };
        let index = self.in_use.iter().position(is_one)?;
        Some(self.in_use.remove(index))
    }

    /// Puts a buffer behind those that are looked at before it.
    pub(super) fn put_back(&mut self, in_use: InUse) {
        self.in_use.push(in_use);
    }

    /// Whether there is nothing to look for, to zero or to make.
    pub(super) fn is_empty(&self) -> bool {
        self.free.is_empty() && self.in_use.is_empty() && self.made_ahead.is_empty()
    }

    /// A kind of which one is to be free and none is, where `max_bytes` leave room for one.
    pub(super) fn lacking(&self, max_bytes: u64) -> Option<Key> {
        let room = max_bytes.saturating_sub(self.free_bytes());
        let is_free = |key: &Key| self.free.iter().any(|free| free.key == *key);
        let lacks = |key: &&Key| key.size_bytes <= room && !is_free(key);
        self.made_ahead.iter().find(lacks).cloned()
    }

    /// Counts and keeps a buffer that the pool has made.
    pub(super) fn add_made(&mut self, free: Free) {
        self.counted.made += 1;
        self.add_zeroed(free);
    }

    /// Counts and keeps a buffer that has just been zeroed.
    pub(super) fn add_zeroed(&mut self, free: Free) {
        self.counted.zeroed_bytes += free.key.size_bytes;
        self.free.push(free);
    }

    /// Keeps a buffer that was reclaimed, or returns it to be dropped where that exceeds the cap.
    pub(super) fn add_reclaimed(&mut self, free: Free, max_bytes: u64) -> Option<Free> {
        self.counted.reclaimed += 1;
        if self.free_bytes() + free.key.size_bytes > max_bytes {
            return Some(free);
        }
        self.free.push(free);
        None
    }

    /// As [`State::add_reclaimed`]; `None` counts a buffer that was dropped instead.
    pub(super) fn add_if_reclaimed(&mut self, free: Option<Free>, max_bytes: u64) -> Option<Free> {
        if free.is_none() {
            self.count_freed();
        }
        self.add_reclaimed(free?, max_bytes)
    }

    /// Counts a buffer that is dropped.
    pub(super) fn count_freed(&mut self) {
        self.counted.freed += 1;
    }

    /// Takes out a buffer that has held a client's bytes since before `before`.
    pub(super) fn take_not_zeroed(&mut self, before: Instant) -> Option<Free> {
        let index = self
            .free
            .iter()
            .position(|free| free.content != Content::Zero && free.since < before)?;
        Some(self.free.swap_remove(index))
    }

    /// Empties the pool; what it had is to be dropped after the lock.
    pub(super) fn shrink(&mut self) -> Vec<Free> {
        self.made_ahead.clear();
        self.counted.freed += self.free.len() as u64;
        std::mem::take(&mut self.free)
    }

    fn small_in_use_bytes(&self) -> u64 {
        let small = self.in_use.iter().filter(|in_use| !in_use.key.pays_to_zero());
        small.map(|in_use| in_use.key.size_bytes).sum()
    }

    fn free_bytes(&self) -> u64 {
        self.free.iter().map(|free| free.key.size_bytes).sum()
    }

    pub(super) fn stats(&self) -> PoolStats {
        PoolStats {
            free: self.free.len() as u64,
            free_bytes: self.free_bytes(),
            in_use: self.in_use.len() as u64,
            pressure: self.pressure,
            ..self.counted
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use dmabuf_uapi::memfd::create_sealed;

    use super::super::config::SMALL_BUFFER_BYTES;
    use super::*;
    use crate::buffer::{PageKind, RetainedBuffer};

    const SIZE_BYTES: u64 = 1 << 20;
    const ROOM_BYTES: u64 = 4 << 20;

    fn key() -> Key {
        Key {
            heap: "memfd".into(),
            pages: Some(PageKind::Base),
            size_bytes: SIZE_BYTES,
            pages_can_be_held: false,
        }
    }

    fn buffer() -> RetainedBuffer {
        RetainedBuffer::new(create_sealed(c"test", SIZE_BYTES).unwrap(), false).unwrap()
    }

    fn free(content: Content) -> Free {
        Free { key: key(), buffer: buffer(), backing: None, content, since: Instant::now() }
    }

    fn in_use(client: u32) -> InUse {
        InUse { buffer: buffer(), backing: None, key: key(), client: ClientId(client) }
    }

    fn request(client: u32, overwritten: bool) -> AllocRequest {
        let client = ClientId(client);
        AllocRequest { size_bytes: SIZE_BYTES, client, overwritten, now: Instant::now() }
    }

    #[test]
    fn a_client_gets_its_own_bytes_back_only_to_overwrite_them() {
        let mut state = State::default();
        state.free.push(free(Content::Of(ClientId(1))));
        assert!(state.find(&key(), request(2, true)).is_none());
        assert!(state.find(&key(), request(1, false)).is_none());
        assert!(state.take(&key(), request(1, true)).is_some());
        assert!(state.take(&key(), request(1, true)).is_none());
        assert_eq!((state.stats().hits, state.stats().misses), (1, 1));
    }

    #[test]
    fn zeroed_buffers_are_kept_for_those_who_need_them() {
        let mut state = State::default();
        state.free.push(free(Content::Zero));
        state.free.push(free(Content::Of(ClientId(1))));
        assert_eq!(state.find(&key(), request(1, true)), Some(1));
        assert_eq!(state.find(&key(), request(1, false)), Some(0));
        assert_eq!(state.find(&key(), request(2, true)), Some(0));
        let other = Key { size_bytes: SIZE_BYTES / 2, ..key() };
        assert_eq!(state.find(&other, request(2, true)), None);
    }

    #[test]
    fn of_each_kind_made_ahead_one_should_be_ready() {
        let mut state = State::default();
        assert_eq!(state.lacking(4 << 20), None);
        assert!(state.track(in_use(1), ROOM_BYTES).is_none());
        assert_eq!(state.lacking(1 << 20), Some(key()));
        assert_eq!(state.lacking(SIZE_BYTES - 1), None);
        state.add_made(free(Content::Zero));
        assert_eq!(state.lacking(1 << 20), None);
        assert!(state.take(&key(), request(1, true)).is_some());
        assert_eq!(state.lacking(1 << 20), Some(key()));
        // What comes back counts.
        assert!(state.add_reclaimed(free(Content::Of(ClientId(1))), 1 << 20).is_none());
        assert_eq!(state.lacking(1 << 20), None);
        assert_eq!(state.shrink().len(), 1);
        assert_eq!((state.stats().free, state.stats().freed), (0, 1));
        assert_eq!(state.lacking(1 << 20), None);
    }

    #[test]
    fn what_a_client_has_had_for_longest_is_looked_at_first() {
        let mut state = State::default();
        for client in [1, 2, 1] {
            assert!(state.track(in_use(client), ROOM_BYTES).is_none());
        }
        let second = state.in_use[2].buffer.as_fd().as_raw_fd();
        let first = state.take_in_use("memfd", SIZE_BYTES, ClientId(1)).unwrap();
        assert!(state.take_in_use("memfd", SIZE_BYTES, ClientId(3)).is_none());
        state.put_back(first);
        let next = state.take_in_use("memfd", SIZE_BYTES, ClientId(1)).unwrap();
        assert_eq!(next.buffer.as_fd().as_raw_fd(), second);
        assert_eq!(next.into_free(Instant::now()).content, Content::Of(ClientId(1)));
    }

    #[test]
    fn a_pool_without_its_thread_tracks_nothing() {
        let mut state = State { stopping: true, ..State::default() };
        assert!(state.track(in_use(1), ROOM_BYTES).is_some());
        assert!(state.is_empty());
    }

    #[test]
    fn only_so_many_buffers_are_tracked() {
        let mut state = State::default();
        for _ in 0..MAX_IN_USE {
            assert!(state.track(in_use(1), ROOM_BYTES).is_none());
        }
        assert!(state.track(in_use(1), ROOM_BYTES).is_some());
        assert_eq!(state.stats().in_use, MAX_IN_USE as u64);
    }

    #[test]
    fn only_so_many_bytes_of_small_buffers_are_tracked() {
        let mut state = State::default();
        let small = || InUse { key: Key { size_bytes: SMALL_BUFFER_BYTES, ..key() }, ..in_use(1) };
        assert!(state.track(small(), 2 * SMALL_BUFFER_BYTES).is_none());
        assert!(state.track(small(), 2 * SMALL_BUFFER_BYTES).is_none());
        assert!(state.track(small(), 2 * SMALL_BUFFER_BYTES).is_some());
        // Large ones are looked at soon.
        assert!(state.track(in_use(1), 2 * SMALL_BUFFER_BYTES).is_none());
    }

    #[test]
    fn small_buffers_are_not_made_ahead() {
        let mut state = State::default();
        let key = Key { size_bytes: SMALL_BUFFER_BYTES, ..key() };
        assert!(state.track(InUse { key, ..in_use(1) }, ROOM_BYTES).is_none());
        assert_eq!(state.lacking(1 << 20), None);
    }

    #[test]
    fn a_buffer_whose_pages_can_be_held_is_for_its_client_alone() {
        let mut state = State::default();
        let key = Key { pages_can_be_held: true, ..key() };
        assert!(!key.pays_to_zero() && self::key().pays_to_zero());
        assert!(state.track(InUse { key: key.clone(), ..in_use(1) }, ROOM_BYTES).is_none());
        // None is made ahead, and those in use count against the cap, as small ones.
        assert_eq!(state.lacking(ROOM_BYTES), None);
        let in_use = InUse { key: key.clone(), ..in_use(1) };
        assert!(state.track(in_use, SIZE_BYTES).is_some());
        state.free.push(Free { key: key.clone(), ..free(Content::Of(ClientId(1))) });
        assert!(state.find(&key, request(2, true)).is_none());
        assert!(state.find(&key, request(1, true)).is_some());
    }

    #[test]
    fn an_empty_pool_has_nothing_to_do() {
        let mut state = State::default();
        assert!(state.is_empty());
        assert!(state.track(in_use(1), ROOM_BYTES).is_none());
        assert!(!state.is_empty());
        state.in_use.clear();
        // Of a kind that was in use one is to be free.
        assert!(!state.is_empty());
        state.shrink();
        assert!(state.is_empty());
    }

    #[test]
    fn what_comes_back_over_the_cap_is_dropped() {
        let mut state = State::default();
        assert!(state.add_reclaimed(free(Content::Zero), SIZE_BYTES).is_none());
        assert!(state.add_reclaimed(free(Content::Zero), SIZE_BYTES).is_some());
        assert_eq!((state.stats().free, state.stats().free_bytes), (1, SIZE_BYTES));
    }

    #[test]
    fn only_old_bytes_of_clients_are_zeroed() {
        let mut state = State::default();
        state.free.push(free(Content::Zero));
        state.free.push(free(Content::Of(ClientId(1))));
        let before = state.free[0].since;
        assert!(state.take_not_zeroed(before).is_none());
        let not_zeroed = state.take_not_zeroed(Instant::now()).unwrap();
        assert_eq!(not_zeroed.content, Content::Of(ClientId(1)));
        assert!(state.take_not_zeroed(Instant::now()).is_none());
    }
}
