// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * The answer to a yes-or-no question about a heap, which may not be known: the kernel does not
 * describe its heaps, the service knows the documented ones by their names.
 */
@VintfStability
@Backing(type="int")
enum HeapFact {
    /**
     * The service does not know.
     */
    UNKNOWN = 0,
    /**
     * No.
     */
    NO = 1,
    /**
     * Yes.
     */
    YES = 2,
}
