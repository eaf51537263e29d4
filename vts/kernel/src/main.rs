//! VtsKernelDmaBufCopyFileRangeTest: copy_file_range between files and dma-bufs.

fn main() {}
