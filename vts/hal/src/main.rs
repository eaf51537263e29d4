//! VtsHalDmaBufLoaderTargetTest: the loader HAL seen by its clients.

fn main() {}
