// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * The service-specific error codes of IDmaBufLoader. The message of the exception names the
 * argument and what the service expected. The message is for people; its text may change.
 */
@VintfStability
@Backing(type="int")
enum LoaderError {
    /**
     * An argument is outside its documented range, or two arguments contradict each other.
     */
    BAD_ARGUMENT = 1,
    /**
     * A file descriptor is missing, or not open in the access mode that the operation needs.
     */
    BAD_FD = 2,
    /**
     * A file descriptor is open, but not on a regular file for an argument that is a file, or not
     * on a dma-buf for an argument that is a buffer.
     */
    UNSUPPORTED_FILE = 3,
    /**
     * The service has no heap with the requested name.
     */
    HEAP_UNKNOWN = 4,
    /**
     * The heap lacks the memory, or the service lacks the file descriptors for the request.
     */
    NO_MEMORY = 5,
    /**
     * A device or the kernel uses the buffer, and the service cannot access it now.
     */
    BUSY = 6,
    /**
     * The file system or the storage device failed. The message has the errno as "errno=N (text)".
     */
    IO = 7,
    /**
     * The loaded bytes do not have the expected SHA-256: the service frees a new buffer; an
     * existing one keeps the loaded bytes. Or a file has another fs-verity digest than expected, or
     * no fs-verity: the service has allocated and loaded nothing. The message has the digest found
     * and the digest expected.
     */
    DIGEST_MISMATCH = 8,
    /**
     * The policy is REQUIRE_DIRECT, and direct I/O is not possible.
     */
    DIRECT_IO_UNAVAILABLE = 9,
    /**
     * The policy is NAMED, and the named path is not possible.
     */
    PATH_UNAVAILABLE = 10,
    /**
     * The request was cancelled. A new buffer is dropped; an existing target, or the files of a
     * save, may hold a part.
     */
    CANCELLED = 11,
    /**
     * The request did not end before its deadline. What may hold a part of it is as for CANCELLED.
     */
    DEADLINE_EXCEEDED = 12,
    /**
     * The client, or all clients together, would hold more than the device permits: requests that
     * wait, bytes in flight, or tasks that are not dropped. The message has what was asked for,
     * what is held and the limit.
     */
    QUOTA_EXCEEDED = 30,
    /**
     * ILoadTask.takeResult() only: the task has not ended.
     */
    NOT_ENDED = 31,
    /**
     * ILoadTask.takeResult() only: the outcome was handed out before.
     */
    RESULT_TAKEN = 32,
}
