// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.BufferTarget;
import vendor.dmabuf.loader.DigestRequest;
import vendor.dmabuf.loader.LoadPath;
import vendor.dmabuf.loader.PathPolicy;
import vendor.dmabuf.loader.RequestPriority;
import vendor.dmabuf.loader.Segment;

/**
 * The argument of IDmaBufLoader.load().
 */
@VintfStability
parcelable LoadRequest {
    /**
     * The buffer to load into.
     */
    BufferTarget target;
    /**
     * Regular files, open for reading. The service can read a file that is open with O_DIRECT
     * directly without opening it again, which SELinux may deny. The service never changes a file's
     * position or flags. At most Capabilities.maxFiles.
     */
    ParcelFileDescriptor[] files;
    /**
     * The ranges to load, at most Capabilities.maxSegments. Ranges in the buffer must not overlap;
     * ranges in the files may. Empty means one segment: the whole file, of which there must be one,
     * to the start of the buffer.
     */
    Segment[] segments;
    /**
     * Whether direct I/O is required.
     */
    PathPolicy policy = PathPolicy.AUTO;
    /**
     * The paths that the service may take, each at most once, in the order in which it tries them.
     * Empty means: all, the cheapest first. The bytes before the first aligned byte and after the
     * last may take another path.
     */
    LoadPath[] paths;
    /**
     * The digests to compare and to report; null for none.
     */
    @nullable DigestRequest digests;
    /**
     * How urgent the request is.
     */
    RequestPriority priority = RequestPriority.NORMAL;
    /**
     * The time from the arrival of the request after which it fails with
     * LoaderError.DEADLINE_EXCEEDED, in milliseconds; 0 for no limit.
     */
    long timeoutMillis = 0;
}
