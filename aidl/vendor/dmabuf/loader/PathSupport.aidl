// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoadPath;

/**
 * Whether this kernel supports a path for buffers of a heap. The service has tried it.
 */
@VintfStability
parcelable PathSupport {
    /**
     * The name of the heap, as in HeapInfo.name.
     */
    @utf8InCpp String heap;
    /**
     * The path.
     */
    LoadPath path = LoadPath.COPY_FILE_RANGE;
    /**
     * Whether the path works. Whether it uses direct I/O depends on the file.
     */
    boolean supported = false;
    /**
     * What the service found, in one line of English, for people; its text may change.
     */
    @utf8InCpp String detail;
}
