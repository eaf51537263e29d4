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
     * A file descriptor is missing, or does not permit the operation: it is not open in the access
     * mode that the operation needs, a seal (memfd), an attribute of the file (immutable) or SELinux
     * forbids the operation, or the key of an encrypted file is missing.
     */
    BAD_FD = 2,
    /**
     * A file descriptor is open, but not on a regular file of a storage file system for an argument
     * that is a file, or not on a dma-buf for an argument that is a buffer. Files of procfs, sysfs,
     * cgroupfs and nsfs have no storage. Or a file lies on a file system whose files wait for a
     * server, such as fuse, and which the device does not permit: the message names its type and
     * those that are permitted. Or the kernel does not support the operation on what the fd is open
     * on: a buffer that the CPU must copy and cannot map (EINVAL, ENODEV), or whose memory is gone
     * (EFAULT).
     */
    UNSUPPORTED_FILE = 3,
    /**
     * The service has no heap with the requested name, or none that serves requests without one.
     */
    HEAP_UNKNOWN = 4,
    /**
     * The heap or the service lacks the memory for the request (ENOMEM, EAGAIN of mmap(2), ENOSPC
     * and EFAULT of an allocation), or the service lacks the file descriptors (EMFILE, ENFILE). Or
     * the device would have too little memory left: then the service has allocated nothing, and the
     * message has the bytes asked for, available and kept for the rest of the device.
     */
    NO_MEMORY = 5,
    /**
     * A device or the kernel uses the buffer, or somebody uses the file, and the service cannot
     * access it now (EBUSY, EAGAIN, ETXTBSY; ETIMEDOUT of an exporter). The service waits about a
     * second for the fences of a buffer to signal, and less where the request ends before. The
     * client may repeat the call.
     */
    BUSY = 6,
    /**
     * The file system, the storage device or the exporter of the buffer failed (EIO and each errno
     * of a file that no other code names; EROFS if the file system became read-only after the file
     * was opened). The message has the errno as "errno=N (text)".
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
     * The policy is REQUIRE_DIRECT, and direct I/O is not possible. Or a file is open with
     * O_DIRECT, the service may not open it again without, and direct I/O is not possible on this
     * file, or not in blocks of the alignment that the message has.
     */
    DIRECT_IO_UNAVAILABLE = 9,
    /**
     * None of the paths that the request permits is possible. The message has a reason for each.
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
     * A file of a save cannot grow: the storage is full (ENOSPC), a quota is reached (EDQUOT), or
     * the file has the largest size that the file system or the service may write (EFBIG).
     */
    NO_SPACE = 13,
    /**
     * The service or the kernel failed in a way that the client cannot change: the service has a
     * defect, or a call of the kernel that concerns no argument failed with an errno that does not
     * mean a lack of memory.
     */
    INTERNAL = 14,
    /**
     * The client, or all clients together, would hold more than the device permits: requests that
     * wait, bytes in flight, tasks that are not dropped, or calls of allocate(), load() and save()
     * that have not returned. The message has what was asked for, what is held and the limit.
     */
    QUOTA_EXCEEDED = 15,
    /**
     * ILoadTask.takeResult() only: the task has not ended.
     */
    NOT_ENDED = 16,
    /**
     * ILoadTask.takeResult() only: the outcome was handed out before.
     */
    RESULT_TAKEN = 17,
}
