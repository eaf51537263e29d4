// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.NewBuffer;

/**
 * Where a load puts the bytes.
 */
@VintfStability
union BufferTarget {
    /**
     * A buffer that the service allocates. Bytes that no segment fills are zero.
     */
    NewBuffer newBuffer;
    /**
     * A buffer that the client has, open for reading and writing, from this service or any exporter. Bytes that no
     * segment fills are left as they are. No device may use the buffer meanwhile.
     */
    ParcelFileDescriptor existing;
}
