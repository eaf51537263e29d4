// SPDX-License-Identifier: Apache-2.0
//! Reads the header of a file of either format, and checks what holds for both.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek};

use anyhow::{ensure, Context};

use super::tensor::Tensor;
use super::{gguf, safetensors};

/// Reads the header of a file; the tensors are in the order of their bytes in the file.
pub fn read(file: &File) -> anyhow::Result<Vec<Tensor>> {
    let file_bytes = file.metadata()?.len();
    read_from(&mut BufReader::new(file), file_bytes)
}

fn read_from<R: Read + Seek>(
    reader: &mut BufReader<R>,
    file_bytes: u64,
) -> anyhow::Result<Vec<Tensor>> {
    let mut magic = [0; 4];
    ensure!(file_bytes >= 8, "has {file_bytes} bytes, too few for a safetensors or GGUF file");
    reader.read_exact(&mut magic)?;
    reader.seek_relative(-4)?;
    let mut tensors = if magic == gguf::MAGIC {
        gguf::read(reader, file_bytes).context("GGUF header")?
    } else {
        safetensors::read(reader, file_bytes).context("safetensors header")?
    };
    unique(&tensors)?;
    tensors.sort_by_key(|tensor| (tensor.file_range.start, tensor.file_range.end));
    disjoint(&tensors)?;
    Ok(tensors)
}

fn unique(tensors: &[Tensor]) -> anyhow::Result<()> {
    let mut names = HashSet::new();
    for Tensor { name, .. } in tensors {
        ensure!(names.insert(name), "two tensors have the name {name:?}");
    }
    Ok(())
}

/// Checks tensors in the order of their starts.
fn disjoint(tensors: &[Tensor]) -> anyhow::Result<()> {
    for pair in tensors.windows(2) {
        let [before, after] = pair else { continue };
        let (end, start) = (before.file_range.end, after.file_range.start);
        ensure!(
            start >= end,
            "tensor {:?} begins at byte {start} of the file, inside tensor {:?}, which ends at {end}",
            after.name,
            before.name
        );
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use std::io::Cursor;

    use super::*;

    /// What the header of these bytes says.
    pub fn parse(bytes: &[u8]) -> Result<Vec<Tensor>, String> {
        let mut reader = BufReader::new(Cursor::new(bytes));
        read_from(&mut reader, bytes.len() as u64).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_short_file_has_no_tensors() {
        for len in 0..8 {
            let error = parse(&b"GGUF\x03\0\0\0"[..len]).unwrap_err();
            assert!(error.contains("too few"), "{error}");
        }
    }

    /// Whatever changes in a header, what is read of it is within the file, or an error.
    #[test]
    fn changed_headers_are_read_within_the_file_or_refused() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut read, mut refused) = (0, 0);
        for valid in [safetensors::tests::valid(), gguf::tests::valid()] {
            assert_eq!(parse(&valid).unwrap().len(), 2);
            for _ in 0..20_000 {
                let mut bytes = valid.clone();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(..bytes.len());
                    match random.u8(..4) {
                        0 => bytes[at] = random.u8(..),
                        1 => bytes[at] = *random.choice(b"\0\x01\x7f\xff{}[]:,\"09").unwrap(),
                        2 => bytes.truncate(at.max(8)),
                        _ => bytes.insert(at, random.u8(..)),
                    }
                }
                let Ok(tensors) = parse(&bytes) else {
                    refused += 1;
                    continue;
                };
                read += 1;
                let mut end = 8;
                for tensor in &tensors {
                    assert!(tensor.file_range.start >= end, "{tensors:?}");
                    end = tensor.file_range.end;
                }
                assert!(end <= bytes.len() as u64, "{tensors:?}");
                assert_eq!(
                    tensors.iter().map(|t| &t.name).collect::<HashSet<_>>().len(),
                    tensors.len()
                );
            }
        }
        assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
    }
}
