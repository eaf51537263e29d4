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
     * Which paths the service may take.
     */
    PathPolicy policy = PathPolicy.AUTO;
    /**
     * The path for PathPolicy.NAMED; other policies ignore it.
     */
    LoadPath namedPath = LoadPath.COPY_FILE_RANGE;
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
