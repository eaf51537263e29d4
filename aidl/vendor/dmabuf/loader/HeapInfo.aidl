// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.HeapKind;

/**
 * One heap that this service allocates from.
 */
@VintfStability
parcelable HeapInfo {
    /**
     * The name to ask for: for a DMA-BUF heap the name of its node, for example "system"; else "udmabuf" or "memfd".
     */
    @utf8InCpp String name;
    /**
     * What stands behind the heap.
     */
    HeapKind kind = HeapKind.DMABUF;
    /**
     * Whether buffers of this heap are dma-bufs, which drivers can attach to.
     */
    boolean deviceShareable = false;
    /**
     * The largest buffer this service allocates from the heap, in bytes. Greater than 0.
     */
    long maxBufferBytes = 0;
}
