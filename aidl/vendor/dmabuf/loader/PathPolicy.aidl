// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * Which paths the service may take for a request.
 */
@VintfStability
@Backing(type="int")
enum PathPolicy {
    /**
     * The cheapest path that works.
     */
    AUTO = 0,
    /**
     * Direct I/O for every aligned byte. If it is not possible, the request fails with
     * LoaderError.DIRECT_IO_UNAVAILABLE and a message with the cause. The bytes before the first
     * aligned byte and after the last may take another path.
     */
    REQUIRE_DIRECT = 1,
    /**
     * The path that the request names, with direct or buffered I/O. If it is not possible, the
     * request fails with LoaderError.PATH_UNAVAILABLE. The bytes before the first aligned byte and
     * after the last may take another path.
     */
    NAMED = 2,
}
