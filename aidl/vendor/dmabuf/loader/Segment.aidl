// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

/**
 * A range of a file and a range of the buffer, of the same length.
 */
@VintfStability
parcelable Segment {
    /**
     * A lengthBytes of TO_END means: to the end of the file in a load, to the end of the buffer in
     * a save.
     */
    const long TO_END = -1;
    /**
     * The index of the file in the request's files, from 0.
     */
    int fileIndex = 0;
    /**
     * The start of the range in the file, in bytes. Not negative.
     */
    long fileOffsetBytes = 0;
    /**
     * The length of the range in bytes: not negative, or TO_END.
     */
    long lengthBytes = TO_END;
    /**
     * The start of the range in the buffer, in bytes. Not negative.
     */
    long bufferOffsetBytes = 0;
}
