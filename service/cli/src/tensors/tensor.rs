// SPDX-License-Identifier: Apache-2.0
//! A tensor of a file, and what bounds the tensors that a header may name.

use std::ops::Range;

use anyhow::Context;

/// More tensors than any model has in one file.
pub const MAX_TENSORS: u64 = 1 << 18;

/// More dimensions than any tensor has.
pub const MAX_DIMENSIONS: usize = 64;

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name: any text.
    pub name: String,
    /// The type of its elements, as the format writes it.
    pub dtype: String,
    /// Its dimensions, in the order of the file.
    pub shape: Vec<u64>,
    /// Its bytes in the file.
    pub file_range: Range<u64>,
}

impl Tensor {
    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.file_range.end - self.file_range.start
    }
}

/// The number of elements of a tensor.
pub fn elements(name: &str, shape: &[u64]) -> anyhow::Result<u64> {
    let product =
        shape.iter().try_fold(1_u64, |product, dimension| product.checked_mul(*dimension));
    product.with_context(|| format!("tensor {name:?}: shape {shape:?} has more than 2^64 elements"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflowing_shape_is_an_error() {
        assert_eq!(elements("t", &[]).unwrap(), 1);
        assert_eq!(elements("t", &[7, 0, u64::MAX]).unwrap(), 0);
        assert!(elements("t", &[1 << 32, 1 << 32]).is_err());
    }
}
