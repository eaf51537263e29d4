//! Typed Linux calls for dma-bufs: heaps, udmabuf, memfd, copy_file_range.
