// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.PathSupport;

/**
 * What this service and this kernel support. Constant while the service runs.
 */
@VintfStability
parcelable Capabilities {
    /**
     * One entry for each path of each heap.
     */
    PathSupport[] paths;
    /**
     * The largest number of segments in a request. Greater than 0.
     */
    int maxSegments = 0;
    /**
     * The largest number of files in a request. Greater than 0.
     */
    int maxFiles = 0;
    /**
     * The granularity of buffer sizes, in bytes: the kernel's page size, a power of two.
     */
    long pageBytes = 0;
}
