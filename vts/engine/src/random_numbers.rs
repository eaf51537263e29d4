// SPDX-License-Identifier: Apache-2.0
//! Reproducible random numbers, in the distributions that tests of ranges need.

use fastrand::Rng;

/// A generator with a seed.
pub struct RandomNumbers(Rng);

impl RandomNumbers {
    /// Makes a generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// Returns a number less than `bound`, which must be greater than 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.u64(..bound)
    }

    /// Returns an element of a list, which must not be empty.
    pub fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.0.usize(..list.len())]
    }

    /// Returns a number up to `max`: often a multiple of a page or a neighbour of one, where errors
    /// are likely.
    pub fn place(&mut self, max: u64) -> u64 {
        let any = self.below(max + 1);
        let page = any - any % 4096;
        let near = [any, page, page.saturating_sub(1), page + 1, any % 8192];
        (*self.one_of(&near)).min(max)
    }
}
