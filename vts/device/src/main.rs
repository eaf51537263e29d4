//! Runs every test: builds, boots and tears down the virtual device.

fn main() {}
