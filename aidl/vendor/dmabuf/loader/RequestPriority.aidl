// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * How urgent a request is, compared with the other requests of all clients. A more urgent request
 * is served before less urgent ones that wait, and gets a larger share; none waits for ever.
 */
@VintfStability
@Backing(type="int")
enum RequestPriority {
    /**
     * Nobody waits for it: a prefetch, say.
     */
    BULK = 0,
    /**
     * The usual one.
     */
    NORMAL = 1,
    /**
     * A user waits for it.
     */
    LATENCY_CRITICAL = 2,
}
