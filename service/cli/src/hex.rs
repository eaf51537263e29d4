// SPDX-License-Identifier: Apache-2.0
//! Conversion of digests to and from hexadecimal digits.

/// Encodes each byte as two lower-case digits.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Decodes digits of either case. Fails unless there are exactly two per byte.
pub fn decode<const LEN_BYTES: usize>(text: &str) -> Result<[u8; LEN_BYTES], String> {
    let expected = format!("expected {} hexadecimal digits", 2 * LEN_BYTES);
    if text.len() != 2 * LEN_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{expected}, found {} characters", text.chars().count()));
    }
    let mut bytes = [0; LEN_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16)
            .map_err(|_| expected.clone())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_encoded_and_digits_are_decoded() {
        let bytes = [0x00, 0x0a, 0x5f, 0xff];
        assert_eq!(encode(&bytes), "000a5fff");
        assert_eq!(decode("000a5FfF"), Ok(bytes));
        assert!(decode::<4>("000a5ff").is_err());
        assert!(decode::<4>("000a5fg0").is_err());
        assert!(decode::<4>("+00a5fff").is_err());
    }
}
