// SPDX-License-Identifier: Apache-2.0
//! The handshake: fixed newstyle, one export without a name.

use std::io::{Read, Write};

use anyhow::{bail, ensure, Context, Result};

use super::protocol::{
    read_u16, read_u32, read_u64, FIXED_NEWSTYLE, GREETING_MAGIC, INFO_BLOCK_SIZE, INFO_EXPORT,
    MAX_PAYLOAD_BYTES, OPTION_ABORT, OPTION_GO, OPTION_INFO, OPTION_MAGIC, OPTION_REPLY_MAGIC,
    REPLY_ACK, REPLY_INFO, REPLY_INVALID, REPLY_UNKNOWN, REPLY_UNSUPPORTED, TRANSMISSION_FLAGS,
};

/// More than the data of any option.
const MAX_OPTION_BYTES: u32 = 64 << 10;

/// The page size: requests of whole pages are the cheapest.
const PREFERRED_BLOCK_BYTES: u32 = 4096;

/// How the handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreed {
    /// The client uses the disk.
    Transmission,
    /// The client leaves.
    Abort,
}

/// Agrees with a client on the use of a disk of this size.
pub fn negotiate(stream: &mut (impl Read + Write), size_bytes: u64) -> Result<Agreed> {
    let mut greeting = GREETING_MAGIC.to_be_bytes().to_vec();
    greeting.extend(OPTION_MAGIC.to_be_bytes());
    greeting.extend(FIXED_NEWSTYLE.to_be_bytes());
    stream.write_all(&greeting)?;
    let flags = read_u32(stream).context("the client's flags")?;
    ensure!(flags == u32::from(FIXED_NEWSTYLE), "the client has unknown flags: {flags:#x}");
    loop {
        let magic = read_u64(stream).context("an option")?;
        ensure!(magic == OPTION_MAGIC, "an option begins with {magic:#x}, not {OPTION_MAGIC:#x}");
        let option = read_u32(stream)?;
        let len_bytes = read_u32(stream)?;
        ensure!(len_bytes <= MAX_OPTION_BYTES, "option {option} has {len_bytes} bytes of data");
        let mut data = vec![0; len_bytes as usize];
        stream.read_exact(&mut data).with_context(|| format!("the data of option {option}"))?;
        let mut reply =
            |kind: u32, data: &[u8]| stream.write_all(&option_reply(option, kind, data));
        match option {
            OPTION_GO | OPTION_INFO => match export_name(&data) {
                Ok(b"") => {
                    reply(REPLY_INFO, &export(size_bytes))?;
                    reply(REPLY_INFO, &block_sizes())?;
                    reply(REPLY_ACK, &[])?;
                    if option == OPTION_GO {
                        return Ok(Agreed::Transmission);
                    }
                }
                Ok(_) => reply(REPLY_UNKNOWN, b"the export has no name")?,
                Err(error) => reply(REPLY_INVALID, error.to_string().as_bytes())?,
            },
            OPTION_ABORT => {
                reply(REPLY_ACK, &[])?;
                return Ok(Agreed::Abort);
            }
            _ => reply(REPLY_UNSUPPORTED, &[])?,
        }
    }
}

/// The name in the data of an option about an export. Of the pieces of information that it asks for
/// only the number is checked, since all are sent.
fn export_name(data: &[u8]) -> Result<&[u8]> {
    let mut rest = data;
    let len = read_u32(&mut rest).context("no length of the name")? as usize;
    let Some((name, mut rest)) = rest.split_at_checked(len) else {
        bail!("the name is cut short");
    };
    let pieces = usize::from(read_u16(&mut rest).context("no number of pieces")?);
    ensure!(rest.len() == pieces * 2, "{pieces} pieces in {} bytes", rest.len());
    Ok(name)
}

fn export(size_bytes: u64) -> Vec<u8> {
    let mut info = INFO_EXPORT.to_be_bytes().to_vec();
    info.extend(size_bytes.to_be_bytes());
    info.extend(TRANSMISSION_FLAGS.to_be_bytes());
    info
}

fn block_sizes() -> Vec<u8> {
    let mut info = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
    for bytes in [1, PREFERRED_BLOCK_BYTES, MAX_PAYLOAD_BYTES] {
        info.extend(bytes.to_be_bytes());
    }
    info
}

fn option_reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut reply = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    reply.extend(option.to_be_bytes());
    reply.extend(kind.to_be_bytes());
    reply.extend((data.len() as u32).to_be_bytes());
    reply.extend(data);
    reply
}
