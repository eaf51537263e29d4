//! Heaps, buffers and the paths that move file bytes into dma-bufs.
