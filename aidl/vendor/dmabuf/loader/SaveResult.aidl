// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.TransferReport;

/**
 * What IDmaBufLoader.save() did.
 */
@VintfStability
parcelable SaveResult {
    /**
     * The bytes written for each segment, in the order of the request: always the length asked for.
     */
    long[] segmentBytes;
    /**
     * How.
     */
    TransferReport report;
}
