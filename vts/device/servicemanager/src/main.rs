//! Service manager of the virtual device.

fn main() {}
