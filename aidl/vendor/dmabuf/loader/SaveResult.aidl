// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.TransferReport;

/**
 * The result of IDmaBufLoader.save().
 */
@VintfStability
parcelable SaveResult {
    /**
     * The number of bytes written for each segment, in the order of the request: its lengthBytes,
     * or for TO_END the bytes up to the end of the buffer.
     */
    long[] segmentBytes;
    /**
     * The path that the bytes took and its cost.
     */
    TransferReport report;
}
