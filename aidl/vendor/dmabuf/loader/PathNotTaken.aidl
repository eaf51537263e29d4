// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoadPath;
import vendor.dmabuf.loader.NotTakenReason;

/**
 * A path that is better than the one taken, and why the service did not take it. Paths that no
 * buffer of this heap allows, or no existing buffer, are left out: PathSupport has them.
 */
@VintfStability
parcelable PathNotTaken {
    /**
     * The better path.
     */
    LoadPath path = LoadPath.COPY_FILE_RANGE;
    /**
     * Whether this entry is about direct I/O on the path, or about the path with buffered I/O.
     */
    boolean direct = false;
    /**
     * Why the service did not take it.
     */
    NotTakenReason reason = NotTakenReason.KERNEL_UNSUPPORTED;
    /**
     * The cause in one line of English, for people; its text may change. Empty for
     * KERNEL_UNSUPPORTED, where PathSupport.detail has the cause, and for REOPENING_COSTS_MORE,
     * which needs no detail.
     */
    @utf8InCpp String detail;
}
