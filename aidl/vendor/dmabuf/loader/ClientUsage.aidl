// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.ResourceUsage;

/**
 * What a client, which is a uid, holds and has done since the service started. The service forgets
 * what the clients that have called least recently have done, if there are more than 256.
 */
@VintfStability
parcelable ClientUsage {
    /**
     * Every resource, each once.
     */
    ResourceUsage[] resources;
    /**
     * Loads and saves that succeeded.
     */
    long completedRequests;
    /**
     * Calls that failed, of any method.
     */
    long failedCalls;
    /**
     * Bytes that direct I/O has moved between files and the pages of buffers.
     */
    long directBytes;
    /**
     * Bytes that were copied.
     */
    long copiedBytes;
}
