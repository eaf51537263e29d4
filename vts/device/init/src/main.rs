//! First process of the virtual device.

fn main() {}
