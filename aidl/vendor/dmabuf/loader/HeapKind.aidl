// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * What stands behind a heap.
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
     * A sealed memfd with no dma-buf over it. Stands in where the machine has neither heap nor udmabuf; no device can
     * use such a buffer. Never offered by a service on a device.
     */
    MEMFD = 2,
}
