// SPDX-License-Identifier: Apache-2.0
//! Where bounced bytes rest: huge pages for long transfers, and for short ones a little memory that each thread keeps,
//! because to map, clear and unmap it costs more than to read into it.

use std::cell::RefCell;
use std::ops::Deref;

use dmabuf_uapi::mapping::Mapping;

use crate::error::{EngineError, Result};

/// Bytes of one bounce buffer, a huge page, and of one read.
pub(super) const SLOT_BYTES: u64 = 2 << 20;

/// Up to here ordinary pages do: to clear a huge page would cost more than it saves.
const SMALL_BYTES: u64 = 256 << 10;

/// What a thread keeps. It has no more pages than its loads have touched.
const KEPT_BYTES: u64 = 64 << 10;

thread_local! {
    static KEPT: RefCell<Option<Mapping>> = const { RefCell::new(None) };
}

/// Memory that belongs to one transfer. It may hold bytes of an earlier one: only what was read into it since may leave it.
#[derive(Debug)]
pub(super) struct BounceMemory {
    /// There until it is dropped.
    mapping: Option<Mapping>,
    keep: bool,
}

impl BounceMemory {
    /// Memory for `slots` bounce buffers of at most [`SLOT_BYTES`]; one that is small has ordinary pages.
    pub(super) fn new(slot_bytes: u64, slots: usize) -> Result<Self> {
        let keep = slot_bytes <= KEPT_BYTES && slots == 1;
        let kept = if keep { KEPT.take() } else { None };
        if let Some(kept) = kept {
            return Ok(Self { mapping: Some(kept), keep });
        }
        let memory = if keep {
            Mapping::anonymous(KEPT_BYTES as usize)
        } else if slot_bytes <= SMALL_BYTES {
            Mapping::anonymous(slot_bytes as usize)
        } else {
            Mapping::anonymous_huge(slots * SLOT_BYTES as usize)
        };
        let mapping = memory.map_err(|errno| EngineError::io("allocate a bounce buffer", errno))?;
        Ok(Self { mapping: Some(mapping), keep })
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
        if self.keep {
            KEPT.set(self.mapping.take());
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
    fn larger_memory_is_given_back() {
        let large = BounceMemory::new(KEPT_BYTES + 1, 1).unwrap();
        large.write(0, &[7]).unwrap();
        drop(large);
        assert!(KEPT.with_borrow(Option::is_none));
        drop(BounceMemory::new(KEPT_BYTES, 1).unwrap());
        assert_eq!(BounceMemory::new(SLOT_BYTES, 2).unwrap().len_bytes() as u64, 2 * SLOT_BYTES);
        assert!(KEPT.with_borrow(Option::is_some), "the small one stays");
    }

    fn byte_of(memory: &Mapping) -> u8 {
        let mut byte = [1];
        memory.read(0, &mut byte).unwrap();
        byte[0]
    }
}
