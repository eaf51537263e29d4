// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoadPath;
import vendor.dmabuf.loader.PathPolicy;
import vendor.dmabuf.loader.Segment;

/**
 * What IDmaBufLoader.save() is to do.
 */
@VintfStability
parcelable SaveRequest {
    /**
     * The buffer, open for reading, from this service or any exporter.
     */
    ParcelFileDescriptor buffer;
    /**
     * The files, open for writing without O_APPEND: regular files only.
     */
    ParcelFileDescriptor[] files;
    /**
     * The ranges. Ranges of the same file must not overlap. Empty means the whole buffer, to the start of the one file, as
     * one segment.
     */
    Segment[] segments;
    /**
     * Which paths are permitted.
     */
    PathPolicy policy = PathPolicy.AUTO;
    /**
     * The path that NAMED means; ignored otherwise.
     */
    LoadPath namedPath = LoadPath.COPY_FILE_RANGE;
}
