// SPDX-License-Identifier: Apache-2.0
//! Random numbers that a seed reproduces, in the shapes that tests of ranges need.

use fastrand::Rng;

/// A generator.
pub struct RandomNumbers(Rng);

impl RandomNumbers {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// A number less than `bound`, which is greater than 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.u64(..bound)
    }

    /// One of a list that is not empty.
    pub fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.0.usize(..list.len())]
    }

    /// A number up to `max`: often one at or beside a multiple of a page, where mistakes are made.
    pub fn place(&mut self, max: u64) -> u64 {
        let any = self.below(max + 1);
        let page = any - any % 4096;
        let near = [any, page, page.saturating_sub(1), page + 1, any % 8192];
        (*self.one_of(&near)).min(max)
    }
}
