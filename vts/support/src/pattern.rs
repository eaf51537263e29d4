// SPDX-License-Identifier: Apache-2.0
//! File content in which every word depends on its position, so that misplaced bytes are detected.

/// The value that tests fill a buffer with beforehand, to detect which bytes change.
pub const UNTOUCHED: u8 = 0xa5;

/// Returns the bytes from `position` of the endless content number `seed`.
pub fn bytes(seed: u64, position: u64, len_bytes: usize) -> Vec<u8> {
    let first = position / 8;
    let skip = (position % 8) as usize;
    let words = (skip + len_bytes).div_ceil(8) as u64;
    let mut content = Vec::with_capacity(words as usize * 8);
    for index in first..first + words {
        content.extend_from_slice(&word(seed, index).to_le_bytes());
    }
    content.drain(..skip);
    content.truncate(len_bytes);
    content
}

fn word(seed: u64, index: u64) -> u64 {
    let mixed = (index ^ (seed << 56)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// Fails with the first difference instead of printing megabytes.
#[track_caller]
pub fn assert_same(seen: &[u8], expected: &[u8], what: &str) {
    assert_eq!(seen.len(), expected.len(), "{what}: length");
    let difference = seen.iter().zip(expected).position(|(left, right)| left != right);
    if let Some(at) = difference {
        panic!("{what}: byte {at} is {:#04x}, not {:#04x}", seen[at], expected[at]);
    }
}

/// Fails unless every byte is `value`.
#[track_caller]
pub fn assert_filled(seen: &[u8], value: u8, what: &str) {
    if let Some(at) = seen.iter().position(|byte| *byte != value) {
        panic!("{what}: byte {at} is {:#04x}, not {value:#04x}", seen[at]);
    }
}
