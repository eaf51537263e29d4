// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoadPath;
import vendor.dmabuf.loader.PathNotTaken;

/**
 * How the bytes moved and what it cost.
 */
@VintfStability
parcelable TransferReport {
    /**
     * The path that moved the bytes; with several segments, the one that moved most of them.
     */
    LoadPath path = LoadPath.BUFFERED;
    /**
     * Whether that path moved them by direct I/O.
     */
    boolean direct = false;
    /**
     * Every better path and why it was not taken; empty where the best was.
     */
    PathNotTaken[] notTaken;
    /**
     * Bytes moved by direct I/O.
     */
    long directBytes = 0;
    /**
     * Bytes moved through the page cache, or copied by the CPU.
     */
    long bufferedBytes = 0;
    /**
     * Time spent allocating the buffer, in nanoseconds.
     */
    long allocateNanos = 0;
    /**
     * Time spent moving bytes, in nanoseconds.
     */
    long moveNanos = 0;
    /**
     * How much longer than moving the bytes the digest took, in nanoseconds: of large loads it is taken while they go on.
     */
    long verifyNanos = 0;

    /**
     * Time spent on unmapping a new buffer's memory in the service before it is handed over, in nanoseconds.
     */
    long handOverNanos = 0;
}
