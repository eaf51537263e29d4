// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.ClientResource;

/**
 * What a client holds of one resource.
 */
@VintfStability
parcelable ResourceUsage {
    /**
     * The resource.
     */
    ClientResource resource = ClientResource.IN_FLIGHT_BYTES;
    /**
     * How much the client holds: bytes or a number.
     */
    long held;
    /**
     * How much it may hold; Long.MAX_VALUE (2^63 - 1) for any amount. The limit of all clients
     * together may be reached before.
     */
    long limit;
}
