// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.VerityDigest;

/**
 * The digests of loaded data.
 */
@VintfStability
parcelable Digests {
    /**
     * The SHA-256 of the loaded bytes, 32 bytes; null unless the request asked for it or expected
     * one.
     */
    @nullable byte[] sha256;
    /**
     * The fs-verity digests, in the order of the files: of each file that has fs-verity if the
     * request asked for them, else of the files for which the request expected one. The service
     * reports only digests that the kernel of this device enforces: a file on FUSE has none.
     */
    VerityDigest[] verity;
}
