// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * A buffer handed to the client, who owns the fd from then on.
 */
@VintfStability
parcelable DmaBuf {
    /**
     * The buffer, open for reading and writing. A dma-buf where deviceShareable is true, else a sealed memfd.
     */
    ParcelFileDescriptor fd;
    /**
     * Size in bytes: the size asked for, rounded up to whole pages.
     */
    long sizeBytes = 0;
    /**
     * The heap it came from.
     */
    @utf8InCpp String heap;
    /**
     * Whether drivers can attach to it.
     */
    boolean deviceShareable = false;
}
