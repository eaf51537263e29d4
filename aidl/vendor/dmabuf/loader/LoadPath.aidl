// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * A way to move bytes between files and dma-bufs. The order of the values means nothing.
 */
@VintfStability
@Backing(type="int")
enum LoadPath {
    /**
     * copy_file_range(2) between the file and the dma-buf. Needs a kernel with that support. With a direct file the
     * storage device writes into the buffer's pages and no CPU copy is made.
     */
    COPY_FILE_RANGE = 0,
    /**
     * read(2) or write(2) on a CPU mapping of the buffer: through the page cache, with one CPU copy. Always possible.
     */
    BUFFERED = 1,

    /**
     * Direct reads into the memfd behind a buffer of the heap "udmabuf" (or "memfd"). Works on any kernel, and only for
     * buffers that the load itself makes. Cheapest of all, allocation included, where the memfd has huge pages.
     */
    UDMABUF_DIRECT = 2,

    /**
     * Direct reads or writes through aligned bounce buffers, and a CPU copy between those and a mapping of the buffer:
     * nothing goes through the page cache. Works on any kernel, for any buffer and any buffer offset. Reported as not
     * direct, because the CPU copies.
     */
    BOUNCE = 3,
}
