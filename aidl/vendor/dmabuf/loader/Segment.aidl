// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * One range of one file and its place in the buffer.
 */
@VintfStability
parcelable Segment {
    /**
     * Means: to the end of the file for a load, to the end of the buffer for a save.
     */
    const long TO_END = -1;
    /**
     * Which file of the request: an index into its files.
     */
    int fileIndex = 0;
    /**
     * Where the range begins in the file, in bytes. Not negative.
     */
    long fileOffsetBytes = 0;
    /**
     * How many bytes: not negative, or TO_END.
     */
    long lengthBytes = TO_END;
    /**
     * Where the range begins in the buffer, in bytes. Not negative.
     */
    long bufferOffsetBytes = 0;
}
