// SPDX-License-Identifier: Apache-2.0
//! The GGUF format, versions 2 and 3: keys with values, a list of tensors, the tensors.
//!
//! Source: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::io::{BufReader, Read, Seek};

use anyhow::{bail, ensure, Context};

use super::ggml_type;
use super::tensor::{elements, Tensor, MAX_DIMENSIONS, MAX_TENSORS};

/// How a file begins.
pub const MAGIC: [u8; 4] = *b"GGUF";

const VERSIONS: [u32; 2] = [2, 3];
const MAX_KEYS: u64 = 1 << 20;

/// The longest key and name that are kept.
const MAX_NAME_BYTES: u64 = u16::MAX as u64;

/// How deep arrays are nested.
const MAX_DEPTH: u32 = 8;

const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;

const UINT32: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Reads the header from the start of a file.
pub fn read<R: Read + Seek>(
    reader: &mut BufReader<R>,
    file_bytes: u64,
) -> anyhow::Result<Vec<Tensor>> {
    let mut header = Header { reader, offset: 0, file_bytes };
    header.skip(MAGIC.len() as u64)?;
    let version = header.u32()?;
    ensure!(!VERSIONS.contains(&version.swap_bytes()), "is big-endian, expected little-endian");
    ensure!(VERSIONS.contains(&version), "has version {version}, expected 2 or 3");
    let (tensor_count, key_count) = (header.u64()?, header.u64()?);
    ensure!(
        tensor_count <= MAX_TENSORS,
        "has {tensor_count} tensors, expected at most {MAX_TENSORS}"
    );
    ensure!(key_count <= MAX_KEYS, "has {key_count} keys, expected at most {MAX_KEYS}");
    let mut alignment = None;
    for _ in 0..key_count {
        let key = header.name("key")?;
        let value_type = header.u32().with_context(|| format!("key {key:?}"))?;
        if key == ALIGNMENT_KEY {
            ensure!(alignment.is_none(), "{ALIGNMENT_KEY} is there twice");
            ensure!(value_type == UINT32, "{ALIGNMENT_KEY} has type {value_type}, expected uint32");
            let value = header.u32()?;
            ensure!(value.is_power_of_two(), "{ALIGNMENT_KEY} is {value}, expected a power of two");
            alignment = Some(u64::from(value));
        } else {
            header.skip_value(value_type, 0).with_context(|| format!("key {key:?}"))?;
        }
    }
    let infos: anyhow::Result<Vec<Info>> = (0..tensor_count).map(|_| header.info()).collect();
    let infos = infos?;
    let alignment = alignment.unwrap_or(DEFAULT_ALIGNMENT);
    // A multiple of 2^31 at most beyond the file's length, which is a signed number.
    let data_start = header.offset.next_multiple_of(alignment);
    infos.into_iter().map(|info| info.tensor(data_start, alignment, file_bytes)).collect()
}

/// What the header says of a tensor.
struct Info {
    name: String,
    shape: Vec<u64>,
    type_number: u32,
    offset: u64,
}

impl Info {
    fn tensor(self, data_start: u64, alignment: u64, file_bytes: u64) -> anyhow::Result<Tensor> {
        let Self { name, shape, type_number, offset } = self;
        let dtype = ggml_type::by_number(type_number).with_context(|| {
            format!("tensor {name:?} has type {type_number}, which is not known")
        })?;
        let row = shape.first().copied().unwrap_or(1);
        ensure!(
            row % dtype.block_elements == 0,
            "tensor {name:?} has rows of {row} elements, expected a multiple of {} for {}",
            dtype.block_elements,
            dtype.name
        );
        let blocks = elements(&name, &shape)? / dtype.block_elements;
        let end = blocks
            .checked_mul(dtype.block_bytes)
            .and_then(|bytes| bytes.checked_add(data_start)?.checked_add(offset))
            .filter(|end| *end <= file_bytes);
        let Some(end) = end else {
            bail!(
                "tensor {name:?}: {} {shape:?} at offset {offset} ends beyond the file's {file_bytes} \
                 bytes",
                dtype.name
            );
        };
        ensure!(
            offset % alignment == 0,
            "tensor {name:?} has offset {offset}, expected a multiple of {alignment}"
        );
        Ok(Tensor {
            name,
            dtype: dtype.name.to_owned(),
            shape,
            file_range: data_start + offset..end,
        })
    }
}

/// A header, read from its start to its end.
struct Header<'a, R> {
    reader: &'a mut BufReader<R>,
    offset: u64,
    file_bytes: u64,
}

impl<R: Read + Seek> Header<'_, R> {
    /// Moves over bytes that are in the file.
    fn advance(&mut self, bytes: u64) -> anyhow::Result<()> {
        let left = self.file_bytes - self.offset;
        ensure!(bytes <= left, "needs {bytes} bytes at {}, where the file has {left}", self.offset);
        self.offset += bytes;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> anyhow::Result<()> {
        self.advance(bytes)?;
        Ok(self.reader.seek_relative(i64::try_from(bytes)?)?)
    }

    fn array<const LEN_BYTES: usize>(&mut self) -> anyhow::Result<[u8; LEN_BYTES]> {
        self.advance(LEN_BYTES as u64)?;
        let mut bytes = [0; LEN_BYTES];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> anyhow::Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> anyhow::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn name(&mut self, what: &str) -> anyhow::Result<String> {
        let bytes = self.u64()?;
        ensure!(
            bytes <= MAX_NAME_BYTES,
            "a {what} has {bytes} bytes, expected at most {MAX_NAME_BYTES}"
        );
        self.advance(bytes)?;
        let mut name = vec![0; bytes as usize];
        self.reader.read_exact(&mut name)?;
        String::from_utf8(name).with_context(|| format!("a {what} is not UTF-8"))
    }

    fn skip_value(&mut self, value_type: u32, depth: u32) -> anyhow::Result<()> {
        match (value_type, element_bytes(value_type)) {
            (_, Some(bytes)) => self.skip(bytes),
            (STRING, _) => {
                let bytes = self.u64()?;
                self.skip(bytes)
            }
            (ARRAY, _) => self.skip_array(depth + 1),
            _ => bail!("a value has type {value_type}, expected 0 to 12"),
        }
    }

    fn skip_array(&mut self, depth: u32) -> anyhow::Result<()> {
        ensure!(depth <= MAX_DEPTH, "arrays are nested more than {MAX_DEPTH} deep");
        let (value_type, count) = (self.u32()?, self.u64()?);
        match element_bytes(value_type) {
            Some(bytes) => {
                let all = count.checked_mul(bytes);
                self.skip(all.with_context(|| format!("an array has {count} elements"))?)
            }
            None => (0..count).try_for_each(|_| self.skip_value(value_type, depth)),
        }
    }

    fn info(&mut self) -> anyhow::Result<Info> {
        let name = self.name("tensor name")?;
        let dimensions = self.u32().with_context(|| format!("tensor {name:?}"))? as usize;
        ensure!(
            dimensions <= MAX_DIMENSIONS,
            "tensor {name:?} has {dimensions} dimensions, expected at most {MAX_DIMENSIONS}"
        );
        let shape: anyhow::Result<Vec<u64>> = (0..dimensions).map(|_| self.u64()).collect();
        let shape = shape.with_context(|| format!("tensor {name:?}"))?;
        let (type_number, offset) = (self.u32()?, self.u64()?);
        Ok(Info { name, shape, type_number, offset })
    }
}

/// The length of a value whose type alone gives it.
fn element_bytes(value_type: u32) -> Option<u64> {
    match value_type {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::header::tests::parse;
    use super::*;

    #[derive(Clone)]
    struct File {
        version: u32,
        tensor_count: u64,
        keys: Vec<Vec<u8>>,
        infos: Vec<Vec<u8>>,
        data_bytes: usize,
    }

    impl File {
        fn bytes(&self) -> Vec<u8> {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(self.version.to_le_bytes());
            bytes.extend(self.tensor_count.to_le_bytes());
            bytes.extend((self.keys.len() as u64).to_le_bytes());
            bytes.extend(self.keys.concat());
            bytes.extend(self.infos.concat());
            bytes.resize(bytes.len().next_multiple_of(32) + self.data_bytes, 0);
            bytes
        }

        fn error(&self) -> String {
            parse(&self.bytes()).unwrap_err()
        }
    }

    fn file(keys: Vec<Vec<u8>>, infos: Vec<Vec<u8>>) -> File {
        File { version: 3, tensor_count: infos.len() as u64, keys, infos, data_bytes: 64 }
    }

    fn string(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn key(name: &str, value_type: u32, value: &[u8]) -> Vec<u8> {
        [&string(name)[..], &value_type.to_le_bytes(), value].concat()
    }

    fn info(name: &str, shape: &[u64], type_number: u32, offset: u64) -> Vec<u8> {
        let mut info = string(name);
        info.extend((shape.len() as u32).to_le_bytes());
        shape.iter().for_each(|dimension| info.extend(dimension.to_le_bytes()));
        info.extend(type_number.to_le_bytes());
        info.extend(offset.to_le_bytes());
        info
    }

    /// A file of two tensors.
    pub fn valid() -> Vec<u8> {
        let keys = vec![
            key(ALIGNMENT_KEY, UINT32, &32_u32.to_le_bytes()),
            key("general.name", STRING, &string("model")),
        ];
        file(keys, vec![info("a", &[2, 4], 1, 0), info("b", &[32], 24, 32)]).bytes()
    }

    #[test]
    fn values_of_each_type_are_passed_over() {
        let strings =
            [&STRING.to_le_bytes()[..], &2_u64.to_le_bytes(), &string("a"), &string("bc")];
        let nested = [&ARRAY.to_le_bytes()[..], &1_u64.to_le_bytes(), &strings.concat()];
        let numbers = [&2_u32.to_le_bytes()[..], &3_u64.to_le_bytes(), &[0; 6]];
        let mut keys: Vec<Vec<u8>> = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12]
            .map(|kind| key("k", kind, &vec![0; element_bytes(kind).unwrap() as usize]))
            .to_vec();
        keys.push(key("name", STRING, &string("model")));
        keys.extend(
            [strings.concat(), nested.concat(), numbers.concat()].map(|v| key("a", ARRAY, &v)),
        );
        let bytes = file(keys, vec![info("w", &[32], 8, 0)]).bytes();
        let tensors = parse(&bytes).unwrap();
        let start = bytes.len() as u64 - 64;
        assert_eq!((tensors[0].file_range.clone(), tensors.len()), (start..start + 34, 1));
    }

    #[test]
    fn tensors_come_in_the_order_of_their_bytes() {
        let infos = vec![info("w", &[4, 2], 0, 32), info("b", &[2, 4], 1, 0)];
        let bytes = file(vec![key("general.name", STRING, &string("model"))], infos).bytes();
        let tensors = parse(&bytes).unwrap();
        let start = bytes.len() as u64 - 64;
        assert_eq!((tensors[0].name.as_str(), tensors[0].dtype.as_str()), ("b", "F16"));
        assert_eq!(tensors[0].file_range, start..start + 16);
        assert_eq!(tensors[1].file_range, start + 32..start + 64);
        assert_eq!(tensors[1].shape, [4, 2]);
    }

    #[test]
    fn the_alignment_is_the_files() {
        let align = |value: u32| key(ALIGNMENT_KEY, UINT32, &value.to_le_bytes());
        let one = |offset| vec![info("t", &[1], 24, offset)];
        assert!(parse(&file(vec![align(8)], one(8)).bytes()).is_ok());
        assert!(file(vec![], one(8)).error().contains("offset 8, expected a multiple of 32"));
        for wrong in [0, 3, 24] {
            let text = file(vec![align(wrong)], one(0)).error();
            assert!(text.contains("expected a power of two"), "{text}");
        }
        assert!(file(vec![align(8), align(8)], one(0)).error().contains("is there twice"));
        let text = file(vec![key(ALIGNMENT_KEY, 10, &[0; 8])], one(0)).error();
        assert!(text.contains("has type 10, expected uint32"), "{text}");
        // The data begins beyond the file.
        let text = file(vec![align(1 << 31)], one(0)).error();
        assert!(text.contains("ends beyond"), "{text}");
    }

    #[test]
    fn other_versions_are_refused() {
        for (version, expected) in
            [(1, "has version 1"), (4, "has version 4"), (3_u32.swap_bytes(), "big-endian")]
        {
            let text = File { version, ..file(vec![], vec![]) }.error();
            assert!(text.contains(expected), "{text}");
        }
        assert!(parse(&File { version: 2, ..file(vec![], vec![]) }.bytes()).is_ok());
    }

    #[test]
    fn counts_and_lengths_are_within_the_file() {
        let text = File { tensor_count: u64::MAX, ..file(vec![], vec![]) }.error();
        assert!(text.contains("tensors, expected at most"), "{text}");
        let text = File { tensor_count: MAX_TENSORS, ..file(vec![], vec![]) }.error();
        assert!(text.contains("where the file has"), "{text}");
        let long = [&u64::MAX.to_le_bytes()[..], b"k"].concat();
        assert!(file(vec![long.clone()], vec![]).error().contains("expected at most 65535"));
        assert!(file(vec![key("k", STRING, &long)], vec![]).error().contains("where the file has"));
        for (kind, count) in [(0, u64::MAX), (10, u64::MAX), (STRING, u64::MAX), (ARRAY, u64::MAX)]
        {
            let array = [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
            let text = file(vec![key("k", ARRAY, &array)], vec![]).error();
            assert!(text.contains("key \"k\""), "{text}");
        }
        let keys = [&MAGIC[..], &3_u32.to_le_bytes(), &[0; 8], &u64::MAX.to_le_bytes()].concat();
        assert!(parse(&keys).unwrap_err().contains("keys, expected at most"));
    }

    #[test]
    fn arrays_are_not_nested_without_end() {
        let level = [&ARRAY.to_le_bytes()[..], &1_u64.to_le_bytes()].concat();
        let text = file(vec![key("k", ARRAY, &level.repeat(1000))], vec![]).error();
        assert!(text.contains("nested more than 8 deep"), "{text}");
    }

    #[test]
    fn a_tensor_is_within_the_file() {
        let refused = |info| file(vec![], vec![info]).error();
        for (shape, offset) in [
            (&[17][..], 0),
            (&[1], 64),
            (&[1], u64::MAX - 31),
            (&[1 << 62], 0),
            (&[1, 1 << 62], 32),
        ] {
            let text = refused(info("t", shape, 0, offset));
            assert!(text.contains("tensor \"t\": F32") && text.contains("ends beyond"), "{text}");
        }
        assert!(refused(info("t", &[1 << 40, 1 << 40], 0, 0)).contains("more than 2^64 elements"));
        assert!(refused(info("t", &[16], 8, 0)).contains("expected a multiple of 32 for Q8_0"));
        assert!(refused(info("t", &[1], 4, 0)).contains("has type 4, which is not known"));
        assert!(refused(info("t", &[1; 65], 0, 0)).contains("has 65 dimensions"));
        let twice = file(vec![], vec![info("t", &[1], 0, 0), info("t", &[1], 0, 32)]).error();
        assert!(twice.contains("two tensors have the name \"t\""), "{twice}");
        let overlap = file(vec![], vec![info("a", &[9], 0, 0), info("b", &[1], 0, 32)]).error();
        assert!(overlap.contains("\"b\" begins") && overlap.contains("inside tensor \"a\""));
    }

    #[test]
    fn a_header_cut_anywhere_is_an_error() {
        let keys = vec![key("k", STRING, &string("v"))];
        let whole = File { data_bytes: 0, ..file(keys, vec![info("t", &[1], 0, 0)]) }.bytes();
        for len in 8..whole.len() {
            assert!(parse(&whole[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn names_are_text() {
        let name = [&1_u64.to_le_bytes()[..], &[0xff]].concat();
        let text = file(vec![], vec![name]).error();
        assert!(text.contains("a tensor name is not UTF-8"), "{text}");
    }
}
