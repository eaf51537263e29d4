// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * A buffer that the service allocated. The client owns the fd.
 */
@VintfStability
parcelable DmaBuf {
    /**
     * The buffer, open for reading and writing: a dma-buf if deviceShareable is true, else a sealed
     * memfd.
     */
    ParcelFileDescriptor fd;
    /**
     * Size in bytes: the requested size, rounded up to whole pages. Greater than 0.
     */
    long sizeBytes = 0;
    /**
     * The name of the buffer's heap, as in HeapInfo.name.
     */
    @utf8InCpp String heap;
    /**
     * Whether drivers can attach to the buffer.
     */
    boolean deviceShareable = false;
}
