// SPDX-License-Identifier: Apache-2.0
//! Where bounced bytes rest: huge pages for long transfers, and for short ones a little memory that each thread keeps. To
//! map, clear and unmap memory costs more than to read into it, so that one of the long kind is kept, too, for whoever is
//! next in this process; the kernel may take it meanwhile.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use dmabuf_uapi::mapping::Mapping;

use crate::error::{EngineError, Result};

/// Bytes of one bounce buffer, a huge page, and of one read.
pub(super) const SLOT_BYTES: u64 = 2 << 20;

/// Bounce buffers of one transfer, at most.
pub(super) const MAX_SLOTS: usize = 2;

/// Up to here ordinary pages do: to make a huge page would cost more than it saves.
const SMALL_BYTES: u64 = 256 << 10;

/// What a thread keeps. It has no more pages than its loads have touched.
const KEPT_BYTES: u64 = 64 << 10;

thread_local! {
    static KEPT: RefCell<Option<Mapping>> = const { RefCell::new(None) };
}

/// What the process keeps: [`MAX_SLOTS`] bounce buffers.
static KEPT_RING: Mutex<Option<Mapping>> = Mutex::new(None);

fn with_kept_ring<R>(work: impl FnOnce(&mut Option<Mapping>) -> R) -> R {
    work(&mut KEPT_RING.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Memory that belongs to one transfer. It may hold bytes of an earlier one: only what was read into it since may leave it.
#[derive(Debug)]
pub(super) struct BounceMemory {
    /// There until it is dropped.
    mapping: Option<Mapping>,
    keeper: Keeper,
}

/// Who has the memory afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeper {
    Thread,
    Process,
    Nobody,
}

impl BounceMemory {
    /// Memory for `slots` bounce buffers of at most [`SLOT_BYTES`], and at most [`MAX_SLOTS`] of them.
    pub(super) fn new(slot_bytes: u64, slots: usize) -> Result<Self> {
        debug_assert!(slot_bytes <= SLOT_BYTES && slots <= MAX_SLOTS);
        let short = slot_bytes <= KEPT_BYTES && slots == 1;
        let kept = if short { KEPT.take() } else { with_kept_ring(Option::take) };
        let (memory, keeper) = match kept {
            Some(kept) => (Ok(kept), if short { Keeper::Thread } else { Keeper::Process }),
            None if short => (Mapping::anonymous(KEPT_BYTES as usize), Keeper::Thread),
            None if slot_bytes <= SMALL_BYTES => {
                (Mapping::anonymous(slots * slot_bytes as usize), Keeper::Nobody)
            }
            None => (Mapping::anonymous_huge(MAX_SLOTS * SLOT_BYTES as usize), Keeper::Process),
        };
        let mapping = memory.map_err(|errno| EngineError::io("allocate a bounce buffer", errno))?;
        if keeper == Keeper::Process && slots > 1 {
            // Whether advice did not help, or the kernel has taken what was kept. Without huge pages it is slower, not wrong.
            let _ = mapping.collapse_into_huge_pages();
        }
        Ok(Self { mapping: Some(mapping), keeper })
    }
}

impl Deref for BounceMemory {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        self.mapping.as_ref().expect("it is taken only when dropped")
    }
}

impl Drop for BounceMemory {
    fn drop(&mut self) {
        match self.keeper {
            Keeper::Thread => KEPT.set(self.mapping.take()),
            Keeper::Process => {
                let ring = self.mapping.take();
                ring.iter().for_each(Mapping::release_under_pressure);
                // Of two at the same time one is unmapped, after the lock.
                drop(with_kept_ring(|kept| std::mem::replace(kept, ring)));
            }
            Keeper::Nobody => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_one_small_memory() {
        let first = BounceMemory::new(4096, 1).unwrap();
        first.write(0, &[7]).unwrap();
        let second = BounceMemory::new(4096, 1).unwrap();
        assert_eq!(byte_of(&second), 0, "not the one that is in use");
        drop(second);
        drop(first);
        let third = BounceMemory::new(KEPT_BYTES, 1).unwrap();
        assert_eq!(byte_of(&third), 7, "the one that came back last");
        assert_eq!(third.len_bytes() as u64, KEPT_BYTES);
    }

    #[test]
    fn the_process_keeps_one_large_memory() {
        let [first, second] = [(); 2].map(|()| BounceMemory::new(SLOT_BYTES, 2).unwrap());
        assert_eq!(first.len_bytes() as u64, 2 * SLOT_BYTES);
        assert_eq!(first.keeper, Keeper::Process);
        drop(first);
        drop(second);
        assert!(KEPT.with_borrow(Option::is_none), "not among the small ones");
        // Another test may have it just now.
        if let Some(ring) = with_kept_ring(Option::take) {
            assert_eq!(ring.len_bytes() as u64, 2 * SLOT_BYTES);
        }
    }

    fn byte_of(memory: &Mapping) -> u8 {
        let mut byte = [1];
        memory.read(0, &mut byte).unwrap();
        byte[0]
    }
}
