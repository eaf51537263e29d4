// SPDX-License-Identifier: Apache-2.0
//! Reading the kernel log: SELinux denials for the report.

use std::fs::File;
use std::io::Read;
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result};

use crate::message::Message;

/// Records can be this long.
const RECORD_BYTES: usize = 8192;

/// Sends every record's text, from the first one the kernel still has.
pub fn start(messages: SyncSender<Message>) -> Result<()> {
    let mut kmsg = File::open("/dev/kmsg").context("opening /dev/kmsg for reading")?;
    std::thread::Builder::new()
        .name("kernel log".into())
        .spawn(move || {
            let mut record = vec![0; RECORD_BYTES];
            loop {
                match kmsg.read(&mut record) {
                    Ok(length) => {
                        let text = String::from_utf8_lossy(&record[..length]);
                        let _ = messages.send(Message::Kernel(message(&text).to_owned()));
                    }
                    // EPIPE: records were overwritten before they were read; the next read goes on.
                    Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {}
                    Err(error) => {
                        let _ =
                            messages.send(Message::Fatal(format!("reading /dev/kmsg: {error}")));
                        return;
                    }
                }
            }
        })
        .context("starting the kernel-log reader")?;
    Ok(())
}

/// The text of a record, which is `PREFIX;TEXT` and lines of key=value pairs.
fn message(record: &str) -> &str {
    let text = record.split_once(';').map_or(record, |(_, text)| text);
    text.lines().next().unwrap_or_default()
}

/// The denial that a record tells of, without what precedes it.
pub fn denial(message: &str) -> Option<&str> {
    let start = message.find("avc:")?;
    let text = &message[start..];
    text.split_whitespace().nth(1).is_some_and(|word| word == "denied").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let record =
            "5,339,5140900,-;audit: type=1400 audit(1700000000.1:4): avc:  denied  { read } \
                      for  pid=7 comm=\"sh\"\n SUBSYSTEM=x\n";
        let text = message(record);
        assert!(text.starts_with("audit: type=1400"));
        assert_eq!(denial(text), Some("avc:  denied  { read } for  pid=7 comm=\"sh\""));
        assert_eq!(denial("avc:  granted  { read } for pid=1"), None);
        assert_eq!(denial("init: started"), None);
    }
}
