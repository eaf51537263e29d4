// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoadPath;
import vendor.dmabuf.loader.NotTakenReason;

/**
 * A path better than the one taken, and why it was not taken. Paths that buffers of this heap never allow, or none that exist
 * already, are left out: PathSupport tells of them.
 */
@VintfStability
parcelable PathNotTaken {
    /**
     * The better path.
     */
    LoadPath path = LoadPath.COPY_FILE_RANGE;
    /**
     * Whether direct I/O on that path is meant, or that path in its buffered form.
     */
    boolean direct = false;
    /**
     * Why it was not taken.
     */
    NotTakenReason reason = NotTakenReason.KERNEL_UNSUPPORTED;
    /**
     * The same for a human: what was found, in one line of English. Not for programs: its wording may change. Empty for
     * KERNEL_UNSUPPORTED, which holds for every request: PathSupport.detail says what was found; and for
     * REOPENING_COSTS_MORE, which says it all.
     */
    @utf8InCpp String detail;
}
