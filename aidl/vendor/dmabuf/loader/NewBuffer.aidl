// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * A buffer to be allocated.
 */
@VintfStability
parcelable NewBuffer {
    /**
     * The heap, by a name from IDmaBufLoader.getHeaps(); empty for any suitable heap.
     */
    @utf8InCpp String heap;
    /**
     * Size in bytes, rounded up to whole pages. In a load, 0 means as large as the segments need.
     */
    long sizeBytes = 0;
    /**
     * A name that debugging tools show for the buffer: at most 31 bytes of UTF-8 without NUL; empty for the service's
     * own choice.
     */
    @utf8InCpp String name;
}
