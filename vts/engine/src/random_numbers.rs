// SPDX-License-Identifier: Apache-2.0
//! Random numbers that a seed reproduces.

/// The generator splitmix64.
pub struct RandomNumbers(u64);

impl RandomNumbers {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `bound`, which is greater than 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of a list that is not empty.
    pub fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }

    /// A number up to `max`: often one at or beside a multiple of a page, where mistakes are made.
    pub fn place(&mut self, max: u64) -> u64 {
        let any = self.below(max + 1);
        let page = any - any % 4096;
        let near = [any, page, page.saturating_sub(1), page + 1, any % 8192];
        (*self.one_of(&near)).min(max)
    }
}
