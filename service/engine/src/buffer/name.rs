// SPDX-License-Identifier: Apache-2.0
//! The debug name of a dma-buf.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::AsFd;

use dmabuf_uapi::dma_buf;

use crate::error::{Argument, EngineError, Result};

/// A name of a length that the kernel takes: its bytes, and NULs up to the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BufferName([u8; dma_buf::MAX_NAME_BYTES + 1]);

impl BufferName {
    /// Checks a requested name; empty means `default`.
    ///
    /// # Errors
    /// [`EngineError::BadArgument`] for a name over 31 bytes or with a control character: the
    /// kernel shows the name in a line of its own, which a line break in it would forge.
    pub(crate) fn new(requested: &str, default: &str) -> Result<Self> {
        let name = if requested.is_empty() { default } else { requested };
        let bad = |problem| Err(EngineError::bad_argument(Argument::NewBufferName, problem));
        if name.len() > dma_buf::MAX_NAME_BYTES {
            let (len, limit) = (name.len(), dma_buf::MAX_NAME_BYTES);
            return bad(format!("has {len} bytes, at most {limit} are possible"));
        }
        if let Some(control) = name.chars().find(|character| character.is_control()) {
            return bad(format!("holds the control character {control:?}"));
        }
        let mut bytes = [0; dma_buf::MAX_NAME_BYTES + 1];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self(bytes))
    }

    /// Names a dma-buf. The name only helps debugging, so a kernel that refuses it fails nothing,
    /// and the log of a device, which is above this level, has no line for each such buffer.
    pub(crate) fn give_to(&self, buffer: impl AsFd) {
        if let Err(errno) = dma_buf::set_name(buffer, self.as_c_str()) {
            log::debug!("naming a buffer {self:?} failed: {errno}");
        }
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for BufferName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_c_str().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_forge_no_line_of_fdinfo() {
        for name in ["a\0b", "model\ncount:\t1", "\u{1b}[2J", "tab\t", "\u{85}"] {
            let error = BufferName::new(name, "d").unwrap_err().to_string();
            assert!(error.contains("control character"), "{name:?}: {error}");
        }
        assert!(BufferName::new("modèle 2", "d").is_ok());
    }

    #[test]
    fn names_are_limited_to_31_bytes() {
        assert!(BufferName::new(&"n".repeat(31), "d").is_ok());
        assert!(BufferName::new(&"n".repeat(32), "d").is_err());
        assert_eq!(format!("{:?}", BufferName::new("ab", "d")), "Ok(\"ab\")");
        assert_eq!(BufferName::new("", "d"), BufferName::new("d", ""));
    }
}
