// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * What the service counts for each client, and limits.
 */
@VintfStability
@Backing(type="int")
enum ClientResource {
    /**
     * Bytes that requests of more than 64 KiB under way are to move.
     */
    IN_FLIGHT_BYTES = 0,
    /**
     * Started requests that no worker has begun.
     */
    QUEUED_REQUESTS = 1,
    /**
     * ILoadTask objects that the client has not released.
     */
    OPEN_TASKS = 2,
    /**
     * Calls of allocate(), load() and save() that have not returned.
     */
    BLOCKING_CALLS = 3,
}
