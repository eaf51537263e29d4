// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoadPath;
import vendor.dmabuf.loader.PathNotTaken;

/**
 * The path that the bytes of a load or save took, and its cost.
 */
@VintfStability
parcelable TransferReport {
    /**
     * The path that moved the bytes; with several segments, the path that moved most of the bytes.
     */
    LoadPath path = LoadPath.BUFFERED;
    /**
     * Whether that path used direct I/O.
     */
    boolean direct = false;
    /**
     * Each better path and why the service did not take it; empty if it took the best.
     */
    PathNotTaken[] notTaken;
    /**
     * The number of bytes moved by direct I/O.
     */
    long directBytes = 0;
    /**
     * The number of bytes moved through the page cache or copied by the CPU.
     */
    long bufferedBytes = 0;
    /**
     * The time to allocate the buffer, in nanoseconds.
     */
    long allocateNanos = 0;
    /**
     * The time to move the bytes, in nanoseconds.
     */
    long moveNanos = 0;
    /**
     * The time that the digest took after the last byte had moved, in nanoseconds. The service
     * computes the digest of a large load while it moves the bytes.
     */
    long verifyNanos = 0;
    /**
     * The time to unmap a new buffer in the service before the service returns it, in nanoseconds.
     */
    long exportNanos = 0;
}
