// SPDX-License-Identifier: Apache-2.0
//! Writes JSON with one line for each member of the outer object and for each element of its
//! arrays.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::Serializer;

/// Converts a value to JSON with a line end.
///
/// # Errors
/// If the value has no JSON form.
pub fn lines(value: &impl Serialize) -> Result<String> {
    let mut json = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut json, Lines { depth: 0 }))?;
    json.push(b'\n');
    Ok(String::from_utf8(json)?)
}

struct Lines {
    /// The number of open objects and arrays.
    depth: u32,
}

impl Lines {
    const OBJECT_DEPTH: u32 = 1;
    const ARRAY_DEPTH: u32 = 2;

    fn open<W: Write + ?Sized>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(bracket)
    }

    fn separate<W: Write + ?Sized>(
        &self,
        writer: &mut W,
        first: bool,
        line_depth: u32,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b"," })?;
        writer.write_all(if self.depth <= line_depth { b"\n" } else { b"" })
    }

    fn close<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        bracket: &[u8],
        line_depth: u32,
    ) -> io::Result<()> {
        writer.write_all(if self.depth <= line_depth { b"\n" } else { b"" })?;
        self.depth -= 1;
        writer.write_all(bracket)
    }
}

impl Formatter for Lines {
    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]", Self::ARRAY_DEPTH)
    }

    fn begin_array_value<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first, Self::ARRAY_DEPTH)
    }

    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}", Self::OBJECT_DEPTH)
    }

    fn begin_object_key<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first, Self::OBJECT_DEPTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_outer_values_begin_lines() {
        let value = json!({"a": {"b": 1, "c": [2, 3]}, "d": [{"e": [4, 5], "f": 6}, 7]});
        let text = "{\n\"a\":{\"b\":1,\"c\":[2,3]},\n\"d\":[\n{\"e\":[4,5],\"f\":6},\n7\n]\n}\n";
        assert_eq!(lines(&value).unwrap(), text);
        assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), value);
    }
}
