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
     * A dma-buf of the client, open for reading and writing, from this service or any other
     * exporter. Bytes that no segment fills do not change. No device may use the buffer during the
     * load.
     */
    ParcelFileDescriptor existing;
}
