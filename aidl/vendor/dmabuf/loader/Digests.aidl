// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.VerityDigest;

/**
 * Digests of what was loaded.
 */
@VintfStability
parcelable Digests {
    /**
     * SHA-256 of the loaded bytes where the request asked for it or gave an expected one; else null.
     */
    @nullable byte[] sha256;
    /**
     * The fs-verity digests, in the order of the files: of the files that have one where the request asked for them, else
     * of those for which it gave an expected one. Only what the kernel itself enforces counts: a file on FUSE has none.
     */
    VerityDigest[] verity;
}
