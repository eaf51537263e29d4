// SPDX-License-Identifier: Apache-2.0
//! Segments of requests, and how the command line writes them and sizes.

use std::fmt;

use dmabuf_loader_client::aidl::Segment::{Segment, TO_END as TO_END_BYTES};

/// How `--segment` is written.
pub const FORM: &str = "FILE_OFFSET:LENGTH:BUFFER_OFFSET";

const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// The LENGTH that ends where the file or the loaded bytes end.
const END: &str = "end";

/// A range of the file and a range of the buffer, of the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSpec {
    pub file_offset_bytes: u64,
    /// `None` for all that follows the offset.
    pub length_bytes: Option<u64>,
    pub buffer_offset_bytes: u64,
}

impl SegmentSpec {
    /// All, from the start of both.
    pub const WHOLE: Self =
        Self { file_offset_bytes: 0, length_bytes: None, buffer_offset_bytes: 0 };

    /// The segment of the only file of a request. Sizes are at most `i64::MAX`.
    pub fn to_aidl(self) -> Segment {
        Segment {
            fileIndex: 0,
            fileOffsetBytes: self.file_offset_bytes as i64,
            lengthBytes: self.length_bytes.map_or(TO_END_BYTES, |bytes| bytes as i64),
            bufferOffsetBytes: self.buffer_offset_bytes as i64,
        }
    }

    /// The segment with its length as a number, of a buffer with `held_bytes` bytes of data.
    pub fn within(self, held_bytes: u64) -> Result<Self, String> {
        let left_bytes = held_bytes.checked_sub(self.buffer_offset_bytes).ok_or_else(|| {
            format!(
                "--segment {self}: BUFFER_OFFSET: expected at most {held_bytes}, the loaded bytes"
            )
        })?;
        let length_bytes = self.length_bytes.unwrap_or(left_bytes);
        if length_bytes > left_bytes {
            return Err(format!(
                "--segment {self}: LENGTH: expected at most {left_bytes}, the loaded bytes after \
                 BUFFER_OFFSET"
            ));
        }
        Ok(Self { length_bytes: Some(length_bytes), ..self })
    }
}

impl fmt::Display for SegmentSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.length_bytes.map_or(END.to_owned(), |bytes| bytes.to_string());
        write!(f, "{}:{length}:{}", self.file_offset_bytes, self.buffer_offset_bytes)
    }
}

/// Parses a segment of the form [`FORM`].
pub fn parse_segment(text: &str) -> Result<SegmentSpec, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [file_offset, length, buffer_offset] = parts[..] else {
        return Err(format!("expected {FORM}, found {} of 3 parts", parts.len()));
    };
    let size = |name: &str, part| parse_size(part).map_err(|error| format!("{name}: {error}"));
    let segment = SegmentSpec {
        file_offset_bytes: size("FILE_OFFSET", file_offset)?,
        length_bytes: if length == END { None } else { Some(size("LENGTH", length)?) },
        buffer_offset_bytes: size("BUFFER_OFFSET", buffer_offset)?,
    };
    for (name, offset_bytes) in
        [("FILE_OFFSET", segment.file_offset_bytes), ("BUFFER_OFFSET", segment.buffer_offset_bytes)]
    {
        let end_bytes = offset_bytes.checked_add(segment.length_bytes.unwrap_or(0));
        if end_bytes.is_none_or(|end_bytes| end_bytes > i64::MAX as u64) {
            return Err(format!("{name} and LENGTH: expected a sum of at most {} bytes", i64::MAX));
        }
    }
    Ok(segment)
}

/// Parses bytes, with or without a unit, up to what the service can be told.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit_bytes) = UNITS
        .into_iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)))
        .unwrap_or((text, 1));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("expected bytes, as 4096, 4KiB, 1MiB or 2GiB, found {text:?}"));
    }
    let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_bytes));
    bytes
        .filter(|bytes| *bytes <= i64::MAX as u64)
        .ok_or_else(|| format!("expected at most {} bytes, found {text:?}", i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_bytes_with_or_without_a_unit() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("3KiB", 3072), ("2MiB", 2 << 20), ("5GiB", 5 << 30)]
        {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        assert_eq!(parse_size("9223372036854775807"), Ok(i64::MAX as u64));
        for beyond in ["9223372036854775808", "8589934592GiB", "99999999999999999999"] {
            assert!(parse_size(beyond).unwrap_err().contains("at most"), "{beyond}");
        }
        for wrong in ["", "KiB", "-1", "+1", "1KB", "1 KiB", "1.5MiB", "0x10", "1KiBKiB"] {
            assert!(parse_size(wrong).unwrap_err().contains("expected bytes"), "{wrong}");
        }
    }

    #[test]
    fn a_segment_has_three_parts() {
        let segment = parse_segment("4KiB:1MiB:0").unwrap();
        let Segment { fileOffsetBytes, lengthBytes, bufferOffsetBytes, .. } = segment.to_aidl();
        assert_eq!((fileOffsetBytes, lengthBytes, bufferOffsetBytes), (4096, 1 << 20, 0));
        assert_eq!(segment.to_string(), "4096:1048576:0");
        let to_end = parse_segment("0:end:4096").unwrap();
        assert_eq!((to_end.to_aidl().lengthBytes, to_end.length_bytes), (TO_END_BYTES, None));
    }

    #[test]
    fn a_wrong_segment_names_its_part() {
        for (text, named) in [
            ("1:2", "expected FILE_OFFSET:LENGTH:BUFFER_OFFSET, found 2 of 3 parts"),
            ("1:2:3:4", "found 4 of 3 parts"),
            ("x:2:3", "FILE_OFFSET: expected bytes"),
            ("1:x:3", "LENGTH: expected bytes"),
            ("1:2:end", "BUFFER_OFFSET: expected bytes"),
            ("1:9223372036854775807:0", "FILE_OFFSET and LENGTH: expected a sum"),
            ("0:9223372036854775807:1", "BUFFER_OFFSET and LENGTH: expected a sum"),
        ] {
            let error = parse_segment(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn a_segment_ends_with_the_loaded_bytes() {
        let within = |text, held_bytes| parse_segment(text).unwrap().within(held_bytes);
        assert_eq!(within("0:end:40", 100).unwrap().length_bytes, Some(60));
        assert_eq!(within("0:60:40", 100).unwrap().length_bytes, Some(60));
        let error = within("0:61:40", 100).unwrap_err();
        assert!(error.contains("--segment 0:61:40: LENGTH: expected at most 60"), "{error}");
        let error = within("0:end:101", 100).unwrap_err();
        assert!(error.contains("BUFFER_OFFSET: expected at most 100"), "{error}");
    }
}
