// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * Whether a request may go without direct I/O. Its list of paths says which paths it permits.
 */
@VintfStability
@Backing(type="int")
enum PathPolicy {
    /**
     * With direct or buffered I/O. If the request permits no path that is possible, it fails with
     * LoaderError.PATH_UNAVAILABLE.
     */
    AUTO = 0,
    /**
     * Direct I/O for every aligned byte. If it is not possible, the request fails with
     * LoaderError.DIRECT_IO_UNAVAILABLE and a message with the cause. The bytes before the first
     * aligned byte and after the last may take another path.
     */
    REQUIRE_DIRECT = 1,
}
