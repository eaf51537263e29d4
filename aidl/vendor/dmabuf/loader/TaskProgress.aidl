// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * How far a task has come.
 */
@VintfStability
parcelable TaskProgress {
    /**
     * Bytes moved, from 0 to totalBytes. It never decreases.
     */
    long movedBytes = 0;
    /**
     * Bytes to move, unless a file ends before. 0 until the service has looked at the files.
     */
    long totalBytes = 0;
    /**
     * Whether the task has ended: with a result, by an error, or cancelled.
     */
    boolean ended = false;
}
