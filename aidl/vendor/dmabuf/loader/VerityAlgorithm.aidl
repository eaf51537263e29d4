// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * The hash algorithm of an fs-verity digest. The values are the kernel's FS_VERITY_HASH_ALG_*.
 */
@VintfStability
@Backing(type="int")
enum VerityAlgorithm {
    /**
     * SHA-256: a digest of 32 bytes.
     */
    SHA256 = 1,
    /**
     * SHA-512: a digest of 64 bytes.
     */
    SHA512 = 2,
}
