// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.VerityDigest;

/**
 * Which digests load() compares, and which it reports.
 */
@VintfStability
parcelable DigestRequest {
    /**
     * The SHA-256 that the loaded bytes must have: 32 bytes, or null for no comparison. The service
     * computes it over the bytes in the buffer, segment after segment in the order of the request.
     * If it differs, load() fails with LoaderError.DIGEST_MISMATCH.
     */
    @nullable byte[] expectedSha256;
    /**
     * Whether the result has the SHA-256 of the loaded bytes.
     */
    boolean reportSha256 = false;
    /**
     * The fs-verity digests that files must have, at most one for each file. The service compares
     * them before it allocates or loads anything; load() fails with LoaderError.DIGEST_MISMATCH if
     * a digest differs or fs-verity is not enabled for a file. The kernel verifies each block of
     * such a file when it reads the block; load() fails with LoaderError.IO for a block that does
     * not match.
     */
    VerityDigest[] expectedVerity;
    /**
     * Whether the result has the fs-verity digest of each file that has fs-verity.
     */
    boolean reportVerity = false;
}
