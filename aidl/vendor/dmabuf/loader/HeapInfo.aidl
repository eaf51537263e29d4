// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.HeapFact;
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
    /**
     * Whether a request with an empty heap name may get a buffer of this heap. By default that is
     * so for the system heap and udmabuf; the device's configuration may list other heaps instead,
     * such as heaps of contiguous memory, of uncached memory or of a vendor.
     */
    boolean servesAnyHeap = false;
    /**
     * Whether the CPU caches what it reads and writes through mappings of the buffers.
     */
    HeapFact cpuCached = HeapFact.UNKNOWN;
    /**
     * Whether each buffer is contiguous in physical memory.
     */
    HeapFact contiguous = HeapFact.UNKNOWN;
    /**
     * Whether the memory is protected from the CPU: then the service can load nothing into it.
     */
    HeapFact cpuProtected = HeapFact.UNKNOWN;
    /**
     * Whether the service makes buffers of huge pages while the kernel has some. NO for udmabuf on
     * kernels that may show importers wrong bytes of these; PathSupport.detail of UDMABUF_DIRECT
     * has the cause.
     */
    HeapFact hugePages = HeapFact.UNKNOWN;
}
