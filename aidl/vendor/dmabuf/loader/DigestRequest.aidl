// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.VerityDigest;

/**
 * Which digests a load is to compare, and which to report.
 */
@VintfStability
parcelable DigestRequest {
    /**
     * SHA-256 that the loaded bytes must have, 32 bytes, or null. It is taken of the bytes in the buffer, segment after
     * segment in the order of the request, before the buffer is handed over.
     */
    @nullable byte[] expectedSha256;
    /**
     * Whether the result carries the SHA-256 of the loaded bytes.
     */
    boolean reportSha256 = false;
    /**
     * fs-verity digests that files must have, at most one for each. They are compared before anything is allocated or
     * loaded; what is loaded from such a file then has been checked by the kernel, whatever part of it that is, and a
     * block that is not as it should be fails the load with LoaderError.IO. A file without fs-verity does not pass.
     */
    VerityDigest[] expectedVerity;
    /**
     * Whether the result carries the fs-verity digest of every file that has one.
     */
    boolean reportVerity = false;
}
