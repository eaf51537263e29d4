// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * The service-specific error codes of IDmaBufLoader. The message that comes with a code names the argument and says
 * what was expected; its wording is for humans and may change.
 */
@VintfStability
@Backing(type="int")
enum LoaderError {
    /**
     * An argument is outside its documented range, or arguments contradict each other.
     */
    BAD_ARGUMENT = 1,
    /**
     * A file descriptor is missing, closed, or opened in a mode that does not permit the operation.
     */
    BAD_FD = 2,
    /**
     * A file descriptor is open but its file is of an unsupported kind: not a regular file where a file is expected,
     * not a dma-buf where a buffer is expected.
     */
    UNSUPPORTED_FILE = 3,
    /**
     * The service has no heap of that name.
     */
    HEAP_UNKNOWN = 4,
    /**
     * The heap has not enough memory.
     */
    NO_MEMORY = 5,
    /**
     * The buffer is in use by a device or by the kernel and cannot be written or read now.
     */
    BUSY = 6,
    /**
     * The file system or the storage device failed. The message holds the errno as "errno=N (text)".
     */
    IO = 7,
    /**
     * The loaded bytes do not have the expected digest: a new buffer is dropped, an existing one keeps the bytes. Or a
     * file does not have the expected fs-verity digest, or none at all: nothing was allocated or loaded. The message
     * has what was found and what was expected.
     */
    DIGEST_MISMATCH = 8,
    /**
     * REQUIRE_DIRECT was asked for and direct I/O is not possible.
     */
    DIRECT_IO_UNAVAILABLE = 9,
    /**
     * NAMED was asked for and the named path is not possible.
     */
    PATH_UNAVAILABLE = 10,
    /**
     * The request was cancelled. A new buffer is dropped; an existing target, or the files of a save, may hold a part.
     */
    CANCELLED = 11,
    /**
     * The request did not end before its deadline. What may hold a part of it is as for CANCELLED.
     */
    DEADLINE_EXCEEDED = 12,
}
