// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.BufferTarget;
import vendor.dmabuf.loader.LoadPath;
import vendor.dmabuf.loader.PathPolicy;
import vendor.dmabuf.loader.Segment;
import vendor.dmabuf.loader.VerityDigest;

/**
 * What IDmaBufLoader.load() is to do.
 */
@VintfStability
parcelable LoadRequest {
    /**
     * Where the bytes go.
     */
    BufferTarget target;
    /**
     * The files, open for reading: regular files only. Opened with O_DIRECT they can be read directly whatever the
     * service may reopen. The service never moves their file position or changes their flags.
     */
    ParcelFileDescriptor[] files;
    /**
     * The ranges. Their places in the buffer must not overlap. Empty means the whole of the one file, to the start of the
     * buffer, as one segment.
     */
    Segment[] segments;
    /**
     * Which paths are permitted.
     */
    PathPolicy policy = PathPolicy.AUTO;
    /**
     * The path that NAMED_PATH means; ignored otherwise.
     */
    LoadPath namedPath = LoadPath.COPY_FILE_RANGE;
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
     * block that is not as it should be fails the load with LoaderError.IO_ERROR. A file without fs-verity does not pass.
     */
    VerityDigest[] expectedVerityDigests;
    /**
     * Whether the result carries the fs-verity digest of every file that has one.
     */
    boolean reportVerityDigests = false;
}
