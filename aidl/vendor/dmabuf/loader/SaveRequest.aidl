// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoadPath;
import vendor.dmabuf.loader.PathPolicy;
import vendor.dmabuf.loader.RequestPriority;
import vendor.dmabuf.loader.Segment;

/**
 * The argument of IDmaBufLoader.save().
 */
@VintfStability
parcelable SaveRequest {
    /**
     * The buffer: a dma-buf, open for reading, from this service or any other exporter.
     */
    ParcelFileDescriptor buffer;
    /**
     * Regular files, open for writing without O_APPEND. At most Capabilities.maxFiles.
     */
    ParcelFileDescriptor[] files;
    /**
     * The ranges to save, at most Capabilities.maxSegments. Ranges in the same file must not
     * overlap; ranges in the buffer may. Empty means one segment: the whole buffer, to the start of
     * the file, of which there must be one.
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
     * How urgent the request is.
     */
    RequestPriority priority = RequestPriority.NORMAL;
    /**
     * The time from the arrival of the request after which it fails with
     * LoaderError.DEADLINE_EXCEEDED, in milliseconds; 0 for no limit.
     */
    long timeoutMillis = 0;
}
