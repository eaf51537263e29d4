// SPDX-License-Identifier: Apache-2.0
//! The part of the NBD protocol that QEMU uses: numbers, and the messages of the transmission
//! phase. All integers are big-endian.
//!
//! The protocol: <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>

use std::io::{self, Read};

use anyhow::{ensure, Result};

/// First words of the server.
pub const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Begins the server's second word and each of the client's options.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Begins each reply to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Begins each request.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Begins each reply to a request.
pub const REPLY_MAGIC: u32 = 0x6744_6698;

/// Flag of either side: options are answered one by one.
pub const FIXED_NEWSTYLE: u16 = 1 << 0;

/// The client ends the handshake.
pub const OPTION_ABORT: u32 = 2;
/// The client asks about an export.
pub const OPTION_INFO: u32 = 6;
/// The client asks about an export, and begins to use it.
pub const OPTION_GO: u32 = 7;

/// Last reply to an option.
pub const REPLY_ACK: u32 = 1;
/// One piece of information about an export.
pub const REPLY_INFO: u32 = 3;
/// The server does not know the option.
pub const REPLY_UNSUPPORTED: u32 = 1 << 31 | 1;
/// The data of the option is malformed.
pub const REPLY_INVALID: u32 = 1 << 31 | 3;
/// No export has that name.
pub const REPLY_UNKNOWN: u32 = 1 << 31 | 6;

/// A piece of information: size and transmission flags.
pub const INFO_EXPORT: u16 = 0;
/// A piece of information: smallest, preferred and largest size of a request.
pub const INFO_BLOCK_SIZE: u16 = 3;

/// The transmission flags: the flags are valid, and the server has flush and trim.
pub const TRANSMISSION_FLAGS: u16 = 1 << 0 | 1 << 2 | 1 << 5;

/// Largest payload of a request: what the protocol lets every client use.
pub const MAX_PAYLOAD_BYTES: u32 = 32 << 20;

/// Errors of requests, by their numbers in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// EIO: the host failed to read or write.
    Io = 5,
    /// EINVAL: an unknown command or flag, or a read or trim beyond the end.
    InvalidArgument = 22,
    /// ENOSPC: a write beyond the end.
    NoSpace = 28,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Send bytes.
    Read,
    /// Write the bytes that follow.
    Write,
    /// The client leaves.
    Disconnect,
    /// Make what was written durable.
    Flush,
    /// Discard bytes.
    Trim,
    /// Something else.
    Unknown(u16),
}

impl Command {
    fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Disconnect,
            3 => Self::Flush,
            4 => Self::Trim,
            other => Self::Unknown(other),
        }
    }
}

/// A request without the payload of a write, which follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Bits that change what the command does; none was offered to the client.
    pub flags: u16,
    /// What to do.
    pub command: Command,
    /// Comes back in the reply.
    pub cookie: u64,
    /// First byte that the command is about.
    pub offset_bytes: u64,
    /// How many bytes it is about.
    pub len_bytes: u32,
}

impl Request {
    /// Reads a request; fails if its first word is not that of a request.
    pub fn read(stream: &mut impl Read) -> Result<Self> {
        let magic = read_u32(stream)?;
        ensure!(magic == REQUEST_MAGIC, "a request begins with {magic:#x}, not {REQUEST_MAGIC:#x}");
        Ok(Self {
            flags: read_u16(stream)?,
            command: Command::from_number(read_u16(stream)?),
            cookie: read_u64(stream)?,
            offset_bytes: read_u64(stream)?,
            len_bytes: read_u32(stream)?,
        })
    }

    /// Whether its bytes lie within the first `size_bytes` of the disk.
    pub fn is_within(&self, size_bytes: u64) -> bool {
        let end = self.offset_bytes.checked_add(u64::from(self.len_bytes));
        end.is_some_and(|end| end <= size_bytes)
    }
}

/// The header of the reply to a request; the bytes that were read follow it.
pub fn reply_header(cookie: u64, error: Option<RequestError>) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&REPLY_MAGIC.to_be_bytes());
    header[4..8].copy_from_slice(&error.map_or(0, |error| error as u32).to_be_bytes());
    header[8..].copy_from_slice(&cookie.to_be_bytes());
    header
}

/// Reads an integer.
pub fn read_u16(stream: &mut impl Read) -> io::Result<u16> {
    read_bytes(stream).map(u16::from_be_bytes)
}

/// Reads an integer.
pub fn read_u32(stream: &mut impl Read) -> io::Result<u32> {
    read_bytes(stream).map(u32::from_be_bytes)
}

/// Reads an integer.
pub fn read_u64(stream: &mut impl Read) -> io::Result<u64> {
    read_bytes(stream).map(u64::from_be_bytes)
}

fn read_bytes<const LEN: usize>(stream: &mut impl Read) -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let bytes = [
            0x25, 0x60, 0x95, 0x13, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0,
            0, 16, 0,
        ];
        let request = Request::read(&mut bytes.as_slice()).unwrap();
        assert_eq!(request.command, Command::Write);
        assert_eq!((request.flags, request.cookie), (0, 9));
        assert_eq!((request.offset_bytes, request.len_bytes), (1 << 32, 4096));

        let error = Request::read(&mut [0; 28].as_slice()).unwrap_err().to_string();
        assert!(error.contains("begins with 0x0"), "{error}");
        assert!(Request::read(&mut bytes[..27].as_ref()).is_err(), "cut short");
    }

    #[test]
    fn ranges() {
        let request = |offset_bytes, len_bytes| Request {
            flags: 0,
            command: Command::Read,
            cookie: 0,
            offset_bytes,
            len_bytes,
        };
        assert!(request(0, 4096).is_within(4096));
        assert!(request(4096, 0).is_within(4096));
        assert!(!request(1, 4096).is_within(4096));
        assert!(!request(u64::MAX, 1).is_within(u64::MAX));
    }

    #[test]
    fn replies() {
        assert_eq!(
            reply_header(7, Some(RequestError::NoSpace)),
            [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 7]
        );
        assert_eq!(reply_header(7, None)[4..8], [0; 4]);
    }
}
