// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * A buffer to allocate.
 */
@VintfStability
parcelable NewBuffer {
    /**
     * The name of the heap, from IDmaBufLoader.getHeaps(). For an empty name the service chooses:
     * see IDmaBufLoader.allocate() and IDmaBufLoader.load().
     */
    @utf8InCpp String heap;
    /**
     * Size in bytes: greater than 0, at most HeapInfo.maxBufferBytes. The service rounds it up to
     * whole pages. In a load, 0 means: as large as the segments need.
     */
    long sizeBytes = 0;
    /**
     * A name that debugging tools show for the buffer: at most 31 bytes of UTF-8, without control
     * characters. For
     * an empty name the service chooses one.
     */
    @utf8InCpp String name;
}
