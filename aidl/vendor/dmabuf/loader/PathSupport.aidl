// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoadPath;

/**
 * Whether this kernel can take a path for buffers of a heap, as found by trying it.
 */
@VintfStability
parcelable PathSupport {
    /**
     * The heap.
     */
    @utf8InCpp String heap;
    /**
     * The path.
     */
    LoadPath path = LoadPath.COPY_FILE_RANGE;
    /**
     * Whether the path works at all. Whether it is direct depends on each file.
     */
    boolean supported = false;
    /**
     * For a human: what was found, in one line of English.
     */
    @utf8InCpp String detail;
}
