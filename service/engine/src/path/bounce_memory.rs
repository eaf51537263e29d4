// SPDX-License-Identifier: Apache-2.0
//! The memory that bounced bytes pass through: huge pages for long transfers, a little memory for
//! short ones.
//!
//! Mapping, zeroing and unmapping memory costs more than reading into it, so that the engine keeps
//! one ring for long transfers, which the kernel may take meanwhile, and a few small ones.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmabuf_uapi::mapping::Mapping;

use crate::error::{EngineError, Result};
use crate::operation::Operation;

/// Bytes of one slot, a huge page, and of one read.
pub(super) const SLOT_BYTES: u64 = 2 << 20;

/// Slots of one transfer, at most.
pub(super) const MAX_SLOTS: usize = 2;

/// Up to here ordinary pages do: making a huge page would cost more than it saves.
const SMALL_BYTES: u64 = 256 << 10;

/// Memory of a short transfer. It has no more pages than transfers have touched. It is a memfd,
/// from which the kernel copies few bytes into a client's buffer for less than from other memory.
const SHORT_BYTES: u64 = 64 << 10;

/// Memories of short transfers that are kept, at most.
const MAX_SHORT_KEPT: usize = 8;

/// The memory that is kept between transfers.
#[derive(Debug, Default)]
pub(crate) struct BounceMemory {
    short: Mutex<Vec<Arc<Mapping>>>,
    /// [`MAX_SLOTS`] slots.
    ring: Mutex<Option<Arc<Mapping>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory of one transfer, until it is dropped. It may hold bytes of an earlier one: only what was
/// read into it since may leave it.
#[derive(Debug)]
pub(super) struct BounceBuffer<'a> {
    /// Shared only with the keeper, and only while this is dropped.
    mapping: Arc<Mapping>,
    keeper: Keeper<'a>,
}

/// Where the memory goes afterwards.
#[derive(Clone, Copy, Debug)]
enum Keeper<'a> {
    Short(&'a BounceMemory),
    Ring(&'a BounceMemory),
    Nobody,
}

impl BounceMemory {
    /// Memory of `slots` slots of at most [`SLOT_BYTES`], and at most [`MAX_SLOTS`] of them.
    ///
    /// # Errors
    /// [`EngineError::Io`] where no memory is left.
    pub(super) fn take(&self, slot_bytes: u64, slots: usize) -> Result<BounceBuffer<'_>> {
        debug_assert!(slot_bytes <= SLOT_BYTES && slots <= MAX_SLOTS);
        let is_short = slot_bytes <= SHORT_BYTES && slots == 1;
        let kept = if is_short { lock(&self.short).pop() } else { lock(&self.ring).take() };
        let (memory, keeper) = match kept {
            Some(kept) if is_short => (Ok(kept), Keeper::Short(self)),
            Some(kept) => (Ok(kept), Keeper::Ring(self)),
            None if is_short => {
                (Mapping::own_memfd(SHORT_BYTES as usize).map(Arc::new), Keeper::Short(self))
            }
            None if slot_bytes <= SMALL_BYTES => {
                (Mapping::anonymous(slots * slot_bytes as usize).map(Arc::new), Keeper::Nobody)
            }
            None => {
                let ring = Mapping::anonymous_huge(MAX_SLOTS * SLOT_BYTES as usize);
                (ring.map(Arc::new), Keeper::Ring(self))
            }
        };
        let mapping =
            memory.map_err(|errno| EngineError::io(Operation::AllocateBounceMemory, errno))?;
        if matches!(keeper, Keeper::Ring(_)) && slots > 1 {
            // Whether advice did not help, or the kernel has taken what was kept. Without huge
            // pages the transfer is slower, not wrong.
            let _ = mapping.collapse_into_huge_pages();
        }
        Ok(BounceBuffer { mapping, keeper })
    }
}

impl Deref for BounceBuffer<'_> {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.mapping
    }
}

impl Drop for BounceBuffer<'_> {
    fn drop(&mut self) {
        // What is not kept is unmapped after the lock.
        match self.keeper {
            Keeper::Short(memory) => {
                let mut short = lock(&memory.short);
                if short.len() < MAX_SHORT_KEPT {
                    short.push(Arc::clone(&self.mapping));
                }
            }
            Keeper::Ring(memory) => {
                self.mapping.release_under_pressure();
                let replaced = lock(&memory.ring).replace(Arc::clone(&self.mapping));
                drop(replaced);
            }
            Keeper::Nobody => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_memory_is_kept() {
        let memory = BounceMemory::default();
        let first = memory.take(4096, 1).unwrap();
        first.write(0, &[7]).unwrap();
        let second = memory.take(4096, 1).unwrap();
        assert_eq!(byte_of(&second), 0, "not the one that is in use");
        drop(second);
        drop(first);
        let third = memory.take(SHORT_BYTES, 1).unwrap();
        assert_eq!(byte_of(&third), 7, "the one that came back last");
        assert_eq!(third.len_bytes() as u64, SHORT_BYTES);
    }

    #[test]
    fn only_so_many_short_memories_are_kept() {
        let memory = BounceMemory::default();
        let taken: Vec<BounceBuffer<'_>> =
            (0..=MAX_SHORT_KEPT).map(|_| memory.take(4096, 1).unwrap()).collect();
        drop(taken);
        assert_eq!(lock(&memory.short).len(), MAX_SHORT_KEPT);
    }

    #[test]
    fn one_ring_is_kept() {
        let memory = BounceMemory::default();
        let [first, second] = [(); 2].map(|()| memory.take(SLOT_BYTES, 2).unwrap());
        assert_eq!(first.len_bytes() as u64, 2 * SLOT_BYTES);
        drop(first);
        drop(second);
        assert!(lock(&memory.short).is_empty());
        let ring = lock(&memory.ring).take().unwrap();
        assert_eq!(ring.len_bytes() as u64, 2 * SLOT_BYTES);
    }

    fn byte_of(memory: &Mapping) -> u8 {
        let mut byte = [1];
        memory.read(0, &mut byte).unwrap();
        byte[0]
    }
}
