// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.Digests;
import vendor.dmabuf.loader.DmaBuf;
import vendor.dmabuf.loader.TransferReport;

/**
 * The result of IDmaBufLoader.load().
 */
@VintfStability
parcelable LoadResult {
    /**
     * The new buffer; null if the target was an existing buffer.
     */
    @nullable DmaBuf buffer;
    /**
     * The number of bytes loaded for each segment, in the order of the request: less than
     * lengthBytes if the file ended before.
     */
    long[] segmentBytes;
    /**
     * The path that the bytes took and its cost.
     */
    TransferReport report;
    /**
     * The digests that the request asked for or expected; null for none.
     */
    @nullable Digests digests;
}
