//! Load files into dma-bufs from a shell.

fn main() {}
