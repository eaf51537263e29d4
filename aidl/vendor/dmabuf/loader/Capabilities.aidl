// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.PathSupport;

/**
 * What this service and this kernel can do. Constant for the life of the service.
 */
@VintfStability
parcelable Capabilities {
    /**
     * Every path of every heap.
     */
    PathSupport[] paths;
    /**
     * The most segments one request may have.
     */
    int maxSegments = 0;
    /**
     * The most files one request may have.
     */
    int maxFiles = 0;
    /**
     * The granularity of buffer sizes, in bytes: the page size of the kernel.
     */
    long pageBytes = 0;
}
