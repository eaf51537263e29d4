// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.Capabilities;
import vendor.dmabuf.loader.DmaBuf;
import vendor.dmabuf.loader.HeapInfo;
import vendor.dmabuf.loader.LoadRequest;
import vendor.dmabuf.loader.LoadResult;
import vendor.dmabuf.loader.NewBuffer;
import vendor.dmabuf.loader.SaveRequest;
import vendor.dmabuf.loader.SaveResult;

/**
 * Gives a vendor process dma-bufs, fills them from files it has opened, and writes them back, each by the cheapest way
 * that the kernel, the heap, the file system and the file allow.
 *
 * Files and buffers cross as open file descriptors, never as paths. Every error is a service-specific exception with a
 * code from LoaderError; a failed call leaves no buffer, fd or mapping behind. Fds in a request stay the client's own;
 * the service closes its copies before it answers.
 */
@VintfStability
interface IDmaBufLoader {
    /**
     * Lists the heaps, in the order in which allocate() tries them when a request names none. load() takes the one that
     * makes allocating, loading and freeing cheapest together.
     *
     * @return the heaps; empty only where the machine has none.
     */
    HeapInfo[] getHeaps();

    /**
     * Says what service and kernel can do.
     *
     * @return the same for every call in the life of the service.
     */
    Capabilities getCapabilities();

    /**
     * Allocates a buffer whose bytes are all zero.
     *
     * @param request heap, size and name; the size must be greater than 0.
     * @return the buffer, owned by the caller.
     * @throws ServiceSpecificException with
     *     LoaderError.BAD_ARGUMENT for a size of 0 or less or over the heap's limit, or an unusable name;
     *     LoaderError.HEAP_UNKNOWN for a heap that getHeaps() does not list;
     *     LoaderError.NO_MEMORY where the heap has not enough memory.
     */
    DmaBuf allocate(in NewBuffer request);

    /**
     * Loads ranges of files into a buffer and returns when they are there.
     *
     * A range that ends after the end of its file is loaded as far as the file goes; the result says how far.
     *
     * @param request the target, the files, the ranges, the policy.
     * @return the new buffer where one was asked for, the bytes per segment, and how they moved.
     * @throws ServiceSpecificException with any code of LoaderError. After an error an existing target may hold part of
     *     the data.
     */
    LoadResult load(in LoadRequest request);

    /**
     * Writes ranges of a buffer to files and returns when the file system has taken them. Does not imply fsync(2).
     *
     * @param request the buffer, the files, the ranges, the policy.
     * @return the bytes per segment and how they moved.
     * @throws ServiceSpecificException with any code of LoaderError. After an error a file may hold part of the data.
     */
    SaveResult save(in SaveRequest request);
}
