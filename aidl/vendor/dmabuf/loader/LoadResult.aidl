// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.DmaBuf;
import vendor.dmabuf.loader.TransferReport;
import vendor.dmabuf.loader.VerityDigest;

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
     * SHA-256 of the loaded bytes where the request asked for it or gave an expected one; else null.
     */
    @nullable byte[] sha256;
    /**
     * The fs-verity digests, in the order of the files: of the files that have one where the request asked for them, else
     * of those for which it gave an expected one. Only what the kernel itself enforces counts: a file on FUSE has none.
     */
    VerityDigest[] verityDigests;
}
