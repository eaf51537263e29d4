// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.VerityAlgorithm;

/**
 * The fs-verity digest of a file, as `fsverity digest` computes it. A file that has one cannot change any more, and the
 * kernel checks every block of it against the digest before a byte of the block can be read.
 */
@VintfStability
parcelable VerityDigest {
    /**
     * Which file of the request: an index into its files.
     */
    int fileIndex = 0;
    /**
     * What the digest is made with.
     */
    VerityAlgorithm algorithm = VerityAlgorithm.SHA256;
    /**
     * The digest, as many bytes as the algorithm says.
     */
    byte[] digest;
}
