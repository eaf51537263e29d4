// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * A path on which bytes move between a file and a dma-buf. The order of the values has no meaning.
 */
@VintfStability
@Backing(type="int")
enum LoadPath {
    /**
     * copy_file_range(2) between the file and the dma-buf, on a kernel that supports it. If the
     * file is open with O_DIRECT, the storage device accesses the pages of the buffer and the CPU
     * copies nothing.
     */
    COPY_FILE_RANGE = 0,
    /**
     * read(2) or write(2) on a CPU mapping of the buffer: through the page cache, with one CPU
     * copy. Works for every file and buffer.
     */
    BUFFERED = 1,
    /**
     * Direct reads into the memfd of a buffer of the heap "udmabuf" or "memfd". Works on every
     * kernel, for buffers that load() allocates. If the memfd has huge pages, this is the cheapest
     * path, including the cost to allocate the buffer.
     */
    UDMABUF_DIRECT = 2,
    /**
     * Direct reads or writes of aligned bounce buffers, and a CPU copy between them and a mapping
     * of the buffer, without the page cache. Works on every kernel, for every buffer and buffer
     * offset. Reports have direct = false, because the CPU copies.
     */
    BOUNCE = 3,
}
