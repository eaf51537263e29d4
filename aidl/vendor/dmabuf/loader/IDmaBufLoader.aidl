// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.Capabilities;
import vendor.dmabuf.loader.ClientUsage;
import vendor.dmabuf.loader.DmaBuf;
import vendor.dmabuf.loader.HeapInfo;
import vendor.dmabuf.loader.ILoadCallback;
import vendor.dmabuf.loader.ILoadTask;
import vendor.dmabuf.loader.LoadRequest;
import vendor.dmabuf.loader.LoadResult;
import vendor.dmabuf.loader.NewBuffer;
import vendor.dmabuf.loader.SaveRequest;
import vendor.dmabuf.loader.SaveResult;

/**
 * Allocates dma-bufs for vendor processes, loads files into them and saves them to files. For each
 * request it takes the cheapest path that the kernel, the heap, the file system and the file allow.
 *
 * Clients pass files and buffers as open file descriptors, never as path names. Every error is a
 * service-specific exception with a code from LoaderError; after a failed call the service keeps no
 * buffer, fd or mapping of the request. The client keeps the fds of its request; the service closes
 * its copies before it returns.
 *
 * SELinux decides which domains may call. No Android permission is required: clients are vendor
 * processes, not apps.
 */
@RequiresNoPermission
@VintfStability
interface IDmaBufLoader {
    /**
     * Lists the heaps: those that serve requests without a heap name come first, in the order in
     * which allocate() tries them.
     *
     * @return the heaps: at least one.
     */
    HeapInfo[] getHeaps();

    /**
     * Reports what the service and the kernel support.
     *
     * @return the capabilities, the same for every call while the service runs.
     */
    Capabilities getCapabilities();

    /**
     * Allocates a buffer whose bytes are all zero.
     *
     * @param request heap, size and name. The size must be greater than 0. An empty heap name
     *     means: the heaps with HeapInfo.servesAnyHeap, in the order of getHeaps(), that can hold
     *     the size, until one has the memory.
     * @return the buffer. The client owns it.
     * @throws ServiceSpecificException with
     *     LoaderError.BAD_ARGUMENT if the size is 0 or negative, if it is above maxBufferBytes of
     *     the heap, or of each such heap for an empty heap name, or if the buffer's name is longer than
     *     31 bytes or has a control character;
     *     LoaderError.HEAP_UNKNOWN if getHeaps() does not list the heap, or for an empty heap name
     *     if no heap has servesAnyHeap;
     *     LoaderError.NO_MEMORY if the heap lacks the memory, or for an empty heap name each such
     *     heap, or if the device would have too little memory left;
     *     LoaderError.QUOTA_EXCEEDED if the client has too many calls that have not returned;
     *     LoaderError.INTERNAL if the heap fails for another reason.
     */
    DmaBuf allocate(in NewBuffer request);

    /**
     * Loads ranges of files into a buffer and returns when the buffer holds the data.
     *
     * If a range extends past the end of its file, the service loads the bytes up to the end of the
     * file and reports their number in LoadResult.segmentBytes. For a new buffer without a heap
     * name the service takes, of the heaps with HeapInfo.servesAnyHeap, the one for which
     * allocating, loading and freeing together cost least. If the calling process ends, so does the
     * load.
     *
     * @param request the target, the files, the ranges, the policy.
     * @return the new buffer if the request asked for one, the bytes of each segment, and the path.
     * @throws ServiceSpecificException with any code of LoaderError except NO_SPACE. After an error
     *     an existing target may hold part of the data.
     */
    LoadResult load(in LoadRequest request);

    /**
     * Writes ranges of a buffer to files and returns when the file system has the data, which
     * fsync(2) may still have to write to the storage device. If the calling process ends, so does
     * the save.
     *
     * @param request the buffer, the files, the ranges, the policy.
     * @return the bytes of each segment, and the path.
     * @throws ServiceSpecificException with any code of LoaderError except HEAP_UNKNOWN and
     *     DIGEST_MISMATCH. After an error a file may hold part of the data.
     */
    SaveResult save(in SaveRequest request);

    /**
     * Starts a load and returns while it waits or runs.
     *
     * @param request as for load().
     * @param callback is told of progress and of the end; null for nobody.
     * @return the task.
     * @throws ServiceSpecificException with
     *     LoaderError.BAD_ARGUMENT, LoaderError.BAD_FD or LoaderError.NO_MEMORY if the request
     *     itself is wrong or its fds cannot be duplicated; what concerns the files, the buffer and
     *     the transfer is thrown by ILoadTask.takeResult();
     *     LoaderError.QUOTA_EXCEEDED if too many requests wait or too many tasks are open.
     */
    ILoadTask startLoad(in LoadRequest request, in @nullable ILoadCallback callback);

    /**
     * Starts a save and returns while it waits or runs.
     *
     * @param request as for save().
     * @param callback is told of progress and of the end; null for nobody.
     * @return the task.
     * @throws ServiceSpecificException as for startLoad().
     */
    ILoadTask startSave(in SaveRequest request, in @nullable ILoadCallback callback);

    /**
     * Returns what the calling uid holds, may hold and has done.
     *
     * @return the usage of all processes of the uid together.
     */
    ClientUsage getUsage();
}
