// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * What provides the memory of a heap.
 */
@VintfStability
@Backing(type="int")
enum HeapKind {
    /**
     * A DMA-BUF heap of the kernel: a node of /dev/dma_heap.
     */
    DMABUF = 0,
    /**
     * The udmabuf driver over a sealed memfd.
     */
    UDMABUF = 1,
    /**
     * A sealed memfd without a dma-buf: no driver can attach to it. The service offers this heap
     * only on machines without DMA-BUF heaps and udmabuf, never on an Android device.
     */
    MEMFD = 2,
}
