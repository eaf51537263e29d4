// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * Why a path was not taken.
 */
@VintfStability
@Backing(type="int")
enum NotTakenReason {
    /**
     * The kernel does not support the path for buffers of this kind.
     */
    KERNEL_UNSUPPORTED = 0,
    /**
     * The file system does not do direct I/O on this file, for example because it is compressed, protected by fs-verity
     * or encrypted without inline encryption, or because the file system has no direct I/O at all.
     */
    FILE_LACKS_DIRECT_IO = 1,
    /**
     * The file was not opened with O_DIRECT and the service may not reopen it so.
     */
    FILE_OPENED_BUFFERED = 2,
    /**
     * File offset, buffer offset and length do not fit the alignment that direct I/O needs on this file.
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
     * The path was tried and the kernel refused it; the detail names the error.
     */
    REFUSED_BY_KERNEL = 6,
    /**
     * The file was opened with O_DIRECT and the service may not reopen it without, as this path needs.
     */
    FILE_OPENED_DIRECT = 7,
    /**
     * The file was not opened with O_DIRECT, and the request asks so few bytes of it that the service reads them through the
     * page cache at a lower cost than it would reopen the file.
     */
    REOPENING_COSTS_MORE = 8,
}
