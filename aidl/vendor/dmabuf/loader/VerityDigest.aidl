// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.VerityAlgorithm;

/**
 * The fs-verity digest of a file, as `fsverity digest` computes it. The content of a file with
 * fs-verity cannot change, and the kernel checks each block against the digest before it returns a
 * byte of it.
 */
@VintfStability
parcelable VerityDigest {
    /**
     * The index of the file in the request's files, from 0.
     */
    int fileIndex = 0;
    /**
     * The hash algorithm.
     */
    VerityAlgorithm algorithm = VerityAlgorithm.SHA256;
    /**
     * The digest: 32 bytes for SHA256, 64 bytes for SHA512.
     */
    byte[] digest;
}
