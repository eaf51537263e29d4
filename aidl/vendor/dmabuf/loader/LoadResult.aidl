// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.Digests;
import vendor.dmabuf.loader.DmaBuf;
import vendor.dmabuf.loader.TransferReport;

/**
 * What IDmaBufLoader.load() did.
 */
@VintfStability
parcelable LoadResult {
    /**
     * The new buffer; null where the request named an existing one.
     */
    @nullable DmaBuf buffer;
    /**
     * The bytes loaded for each segment, in the order of the request. Less than asked for where the file ended early.
     */
    long[] segmentBytes;
    /**
     * How.
     */
    TransferReport report;
    /**
     * The digests that the request asked for; null where there are none.
     */
    @nullable Digests digests;
}
