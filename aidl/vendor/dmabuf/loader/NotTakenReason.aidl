// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * Why the service did not take a path.
 */
@VintfStability
@Backing(type="int")
enum NotTakenReason {
    /**
     * The kernel does not support the path for buffers of this kind.
     */
    KERNEL_UNSUPPORTED = 0,
    /**
     * The file system does no direct I/O on this file, for example because the file is compressed,
     * protected by fs-verity or encrypted without inline encryption, or because the file system has
     * no direct I/O.
     */
    FILE_LACKS_DIRECT_IO = 1,
    /**
     * The file is not open with O_DIRECT, and the service may not open it again with it.
     */
    FILE_OPENED_BUFFERED = 2,
    /**
     * File offset, buffer offset or length lack the alignment that direct I/O needs on this file.
     */
    UNALIGNED = 3,
    /**
     * A device is attached to the buffer or the kernel has it mapped.
     */
    BUFFER_BUSY = 4,
    /**
     * The request names another path.
     */
    EXCLUDED_BY_POLICY = 5,
    /**
     * The service tried the path and the kernel refused; PathNotTaken.detail names the error.
     */
    REFUSED_BY_KERNEL = 6,
    /**
     * The file is open with O_DIRECT, and the service may not open it again without, as this path
     * needs.
     */
    FILE_OPENED_DIRECT = 7,
    /**
     * The file is not open with O_DIRECT, and the request reads so few bytes of it that the page
     * cache costs less than opening the file again.
     */
    REOPENING_COSTS_MORE = 8,
}
