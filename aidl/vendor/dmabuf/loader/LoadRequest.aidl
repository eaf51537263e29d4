// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.BufferTarget;
import vendor.dmabuf.loader.DigestRequest;
import vendor.dmabuf.loader.LoadPath;
import vendor.dmabuf.loader.PathPolicy;
import vendor.dmabuf.loader.Segment;

/**
 * What IDmaBufLoader.load() is to do.
 */
@VintfStability
parcelable LoadRequest {
    /**
     * Where the bytes go.
     */
    BufferTarget target;
    /**
     * The files, open for reading: regular files only. Opened with O_DIRECT they can be read directly whatever the
     * service may reopen. The service never moves their file position or changes their flags.
     */
    ParcelFileDescriptor[] files;
    /**
     * The ranges. Their places in the buffer must not overlap. Empty means the whole of the one file, to the start of the
     * buffer, as one segment.
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
    /**
     * The digests to compare and to report; null for none.
     */
    @nullable DigestRequest digests;
}
