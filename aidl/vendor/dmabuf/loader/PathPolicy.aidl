// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * Which paths a request permits.
 */
@VintfStability
@Backing(type="int")
enum PathPolicy {
    /**
     * The service takes the cheapest path that works.
     */
    AUTO = 0,
    /**
     * Every aligned byte must move by direct I/O; where that is not possible the request fails with
     * LoaderError.DIRECT_IO_UNAVAILABLE and a message that says why. The bytes before the first aligned one and
     * after the last may take another way.
     */
    REQUIRE_DIRECT = 1,
    /**
     * Only the path that the request names, direct or buffered; where that is not possible the request fails with
     * LoaderError.PATH_UNAVAILABLE. The bytes before the first aligned one and after the last may take another
     * way.
     */
    NAMED = 2,
}
