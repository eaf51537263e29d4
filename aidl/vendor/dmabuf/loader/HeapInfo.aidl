// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.HeapKind;

/**
 * A heap from which the service allocates buffers.
 */
@VintfStability
parcelable HeapInfo {
    /**
     * The name for NewBuffer.heap: for a DMA-BUF heap the name of its node in /dev/dma_heap, for
     * example "system"; else "udmabuf" or "memfd".
     */
    @utf8InCpp String name;
    /**
     * What provides the memory.
     */
    HeapKind kind = HeapKind.DMABUF;
    /**
     * Whether buffers of this heap are dma-bufs, which drivers can attach to.
     */
    boolean deviceShareable = false;
    /**
     * The size of the largest buffer that the service allocates from this heap, in bytes. Greater
     * than 0.
     */
    long maxBufferBytes = 0;
}
