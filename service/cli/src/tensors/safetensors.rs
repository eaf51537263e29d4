// SPDX-License-Identifier: Apache-2.0
//! The safetensors format: the length of a JSON header in 8 bytes, the header, the tensors.
//!
//! Source: <https://huggingface.co/docs/safetensors>.

use std::fmt;
use std::io::Read;

use anyhow::{bail, ensure, Context};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::tensor::{elements, Tensor, MAX_DIMENSIONS, MAX_TENSORS};

const LENGTH_BYTES: u64 = 8;

/// The longest header that the format permits.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The key of the header that does not name a tensor.
const METADATA: &str = "__metadata__";

/// Reads the header from the start of a file.
pub fn read(reader: &mut impl Read, file_bytes: u64) -> anyhow::Result<Vec<Tensor>> {
    let mut length = [0; LENGTH_BYTES as usize];
    reader.read_exact(&mut length)?;
    let header_bytes = u64::from_le_bytes(length);
    let most = MAX_HEADER_BYTES.min(file_bytes.saturating_sub(LENGTH_BYTES));
    ensure!(header_bytes <= most, "has {header_bytes} bytes, expected at most {most}");
    let mut header = vec![0; header_bytes as usize];
    reader.read_exact(&mut header)?;
    ensure!(header.first() == Some(&b'{'), "does not begin with {{");
    let Header(entries) = serde_json::from_slice(&header)?;
    // At most 100 MB and the file are added: no overflow.
    let data_start = LENGTH_BYTES + header_bytes;
    let tensors: anyhow::Result<Vec<Tensor>> = entries
        .into_iter()
        .map(|(name, entry)| tensor(name, entry, data_start, file_bytes - data_start))
        .collect();
    let mut tensors = tensors?;
    tensors.sort_by_key(|tensor| (tensor.file_range.start, tensor.file_range.end));
    without_holes(&tensors, data_start, file_bytes)?;
    Ok(tensors)
}

/// The format has tensors one after the other to the end of the file. What overlaps is left to the
/// checks of all formats.
fn without_holes(tensors: &[Tensor], data_start: u64, file_bytes: u64) -> anyhow::Result<()> {
    let mut end = data_start;
    for Tensor { name, file_range, .. } in tensors {
        let start = file_range.start;
        ensure!(start <= end, "tensor {name:?} begins at byte {start} of the file, expected {end}");
        end = end.max(file_range.end);
    }
    ensure!(end == file_bytes, "the tensors end at byte {end} of the file, expected {file_bytes}");
    Ok(())
}

fn tensor(name: String, entry: Entry, data_start: u64, data_bytes: u64) -> anyhow::Result<Tensor> {
    let Entry { dtype, shape: Shape(shape), data_offsets: [begin, end] } = entry;
    ensure!(
        begin <= end && end <= data_bytes,
        "tensor {name:?}: data_offsets are [{begin}, {end}], expected a range in {data_bytes} bytes"
    );
    let count = elements(&name, &shape)?;
    // The length of a type that came after this tool is not known.
    if let Some(bits) = element_bits(&dtype) {
        let expected_bits = count.checked_mul(bits).filter(|bits| bits % 8 == 0);
        let expected = expected_bits.with_context(|| {
            format!("tensor {name:?}: {count} elements of {dtype} are no number of bytes")
        })?;
        if expected / 8 != end - begin {
            bail!(
                "tensor {name:?}: data_offsets [{begin}, {end}] have {} bytes, expected {} for \
                 {dtype} {shape:?}",
                end - begin,
                expected / 8
            );
        }
    }
    Ok(Tensor { name, dtype, shape, file_range: data_start + begin..data_start + end })
}

fn element_bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ"
        | "F8_E5M2FNUZ" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "I64" | "U64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Shape,
    data_offsets: [u64; 2],
}

struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dimensions;
        impl<'de> Visitor<'de> for Dimensions {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_DIMENSIONS} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(dimension) = sequence.next_element()? {
                    if shape.len() == MAX_DIMENSIONS {
                        return Err(A::Error::invalid_length(shape.len() + 1, &self));
                    }
                    shape.push(dimension);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Dimensions)
    }
}

/// The tensors in the order of the header. A map would hide that a name is there twice.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_TENSORS} tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if entries.len() as u64 == MAX_TENSORS {
                        return Err(A::Error::invalid_length(entries.len() + 1, &self));
                    }
                    entries.push((name, map.next_value()?));
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::header::tests::parse;
    use super::*;

    /// A file of this header and so many zeroes.
    fn file(header: &str, data_bytes: usize) -> Vec<u8> {
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &vec![0; data_bytes]].concat()
    }

    /// A file of two tensors.
    pub fn valid() -> Vec<u8> {
        let header = r#"{"__metadata__":{"k":"v"},
            "a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},
            "b":{"dtype":"U8","shape":[24],"data_offsets":[8,32]}}"#;
        file(header, 32)
    }

    fn error(header: &str, data_bytes: usize) -> String {
        parse(&file(header, data_bytes)).unwrap_err()
    }

    #[test]
    fn tensors_come_in_the_order_of_their_bytes() {
        let header = r#"{"__metadata__":{"format":"pt"},
            "b":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},
            "empty":{"dtype":"I8","shape":[0],"data_offsets":[8,8]},
            "a":{"dtype":"NEW","shape":[],"data_offsets":[0,8]}}   "#;
        let tensors = parse(&file(header, 32)).unwrap();
        let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "empty", "b"]);
        let start = 8 + header.len() as u64;
        assert_eq!(tensors[2].file_range, start + 8..start + 32);
        assert_eq!((tensors[2].dtype.as_str(), &tensors[2].shape[..]), ("F32", &[2, 3][..]));
    }

    #[test]
    fn a_header_length_is_within_file_and_format() {
        for length in [9, MAX_HEADER_BYTES + 1, u64::MAX, u64::MAX - 7] {
            let text = parse(&[&length.to_le_bytes()[..], &[b'{'; 8]].concat()).unwrap_err();
            assert!(text.contains(&format!("has {length} bytes, expected at most 8")), "{text}");
        }
        for header in ["", "[]", " {}"] {
            assert!(error(header, 0).contains("does not begin with {"), "{header}");
        }
    }

    #[test]
    fn offsets_are_within_the_file() {
        for offsets in ["[0,9]", "[5,4]", "[18446744073709551615,18446744073709551615]"] {
            let header =
                format!(r#"{{"t":{{"dtype":"U8","shape":[9],"data_offsets":{offsets}}}}}"#);
            let text = error(&header, 8);
            assert!(text.contains("tensor \"t\": data_offsets are"), "{text}");
        }
        for offsets in ["[-1,4]", "[0,18446744073709551616]", "[0]", "[0,1,2]", "\"0\"", "[0.5,1]"]
        {
            let header =
                format!(r#"{{"t":{{"dtype":"U8","shape":[4],"data_offsets":{offsets}}}}}"#);
            assert!(parse(&file(&header, 8)).is_err(), "{offsets}");
        }
    }

    #[test]
    fn overlaps_and_holes_are_errors() {
        let two = |first: &str, second: &str| {
            format!(
                r#"{{"a":{{"dtype":"X","shape":[],"data_offsets":{first}}},
                    "b":{{"dtype":"X","shape":[],"data_offsets":{second}}}}}"#
            )
        };
        let text = error(&two("[0,5]", "[4,8]"), 8);
        assert!(text.contains("tensor \"b\" begins") && text.contains("inside tensor \"a\""));
        let text = error(&two("[0,8]", "[2,4]"), 8);
        assert!(text.contains("inside tensor \"a\""), "{text}");
        let text = error(&two("[0,3]", "[4,8]"), 8);
        assert!(text.contains("tensor \"b\" begins") && text.contains("expected"), "{text}");
        let text = error(&two("[0,4]", "[4,7]"), 8);
        assert!(text.contains("the tensors end at byte"), "{text}");
    }

    #[test]
    fn a_name_is_there_once() {
        let entry = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
        let text = error(&format!(r#"{{"t":{entry},"t":{entry}}}"#), 1);
        assert!(text.contains("two tensors have the name \"t\""), "{text}");
    }

    #[test]
    fn shape_and_type_give_the_length() {
        for (dtype, shape, bytes) in [("F4", "[3]", 8), ("F32", "[3]", 8), ("F64", "[2]", 8)] {
            let header = format!(
                r#"{{"t":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{bytes}]}}}}"#
            );
            assert!(error(&header, bytes).contains("tensor \"t\": "), "{dtype} {shape}");
        }
        let header = r#"{"t":{"dtype":"F4","shape":[16],"data_offsets":[0,8]}}"#;
        assert_eq!(parse(&file(header, 8)).unwrap()[0].bytes(), 8);
        let header = r#"{"t":{"dtype":"F64","shape":[9223372036854775808],"data_offsets":[0,0]}}"#;
        assert!(error(header, 0).contains("are no number of bytes"));
    }

    #[test]
    fn the_number_of_dimensions_is_bounded() {
        let shape = |count| vec!["1"; count].join(",");
        let header = |count| {
            format!(r#"{{"t":{{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}}}}"#, shape(count))
        };
        assert!(parse(&file(&header(MAX_DIMENSIONS), 1)).is_ok());
        assert!(error(&header(MAX_DIMENSIONS + 1), 1).contains("at most 64 dimensions"));
    }

    #[test]
    fn the_number_of_tensors_is_bounded() {
        let entry = r#":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
        let entries: Vec<String> =
            (0..=MAX_TENSORS).map(|name| format!("\"{name}\"{entry}")).collect();
        let text = error(&format!("{{{}}}", entries.join(",")), 0);
        assert!(text.contains("at most 262144 tensors"), "{text}");
    }

    #[test]
    fn json_that_is_no_header_is_an_error() {
        let deep = format!("{{\"__metadata__\":{}", "[".repeat(100_000));
        for header in ["{", "{}}", "{\"t\":1}", "{\"t\":{\"dtype\":\"U8\"}}", "{\"t\":null}", &deep]
        {
            assert!(parse(&file(header, 0)).is_err(), "{header:.20}");
        }
        let valid = r#"{"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        for len in 1..valid.len() {
            assert!(parse(&file(&valid[..len], 1)).is_err(), "{len}");
        }
    }
}
