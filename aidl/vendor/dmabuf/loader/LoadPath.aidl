// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * A way to move bytes between files and dma-bufs. Values appear in the order in which AUTO prefers them.
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
}
