// SPDX-License-Identifier: Apache-2.0
//! A disk that is read at a set rate: an NBD server on a unix socket, to which QEMU connects.
//!
//! No existing server paces as [`pace`] does. QEMU's throttling lets the bytes of a tenth of a
//! second pass at once. nbdkit's rate filter, set to 250 MiB/s, lets bursts of 256 MiB pass; with a
//! burst of 1 ms it takes 7 to 8 ms for 1 MiB instead of 4 ms, and no plugin of nbdkit can hold
//! back the end of an answer. The crate `nbd` serves one request at a time, and has neither trim
//! nor block sizes.

mod handshake;
mod pace;
mod protocol;
#[cfg(test)]
mod tests;
mod transmission;

use std::fs::{self, File};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{anyhow, Context, Result};
use rustix::net::{shutdown, Shutdown};

pub use self::pace::Rate;

use self::handshake::Agreed;

/// A server of one disk to one client. It ends when the client leaves, or when it is dropped before
/// a client has come.
#[derive(Debug)]
pub struct PacedDisk {
    listener: UnixListener,
    socket: PathBuf,
    server: Option<JoinHandle<Result<()>>>,
}

impl PacedDisk {
    /// Waits for a client on a new socket at this path.
    pub fn start(disk: &File, rate: Rate, socket: &Path) -> Result<Self> {
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", socket.display()));
            }
            _ => {}
        }
        let disk = disk.try_clone()?;
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        let mut paced =
            Self { listener: listener.try_clone()?, socket: socket.to_owned(), server: None };
        let server = move || match listener.accept() {
            Ok((stream, _)) => serve(&stream, &disk, rate),
            // The listener was shut down before a client connected.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            Err(error) => Err(error.into()),
        };
        let thread = thread::Builder::new().name("paced disk".to_owned());
        paced.server = Some(thread.spawn(server)?);
        Ok(paced)
    }

    /// Accepts no client any more, and waits until the one that is connected has left. Fails if it
    /// broke the protocol.
    pub fn finish(mut self) -> Result<()> {
        self.close();
        let ended = self.server.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).map_err(|_| anyhow!("the server panicked"))?
    }

    fn close(&self) {
        // Wakes the thread that accepts; a connected client stays connected.
        let _ = shutdown(&self.listener, Shutdown::Both);
        let _ = fs::remove_file(&self.socket);
    }
}

impl Drop for PacedDisk {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(mut stream: &UnixStream, disk: &File, rate: Rate) -> Result<()> {
    match handshake::negotiate(&mut stream, disk.metadata()?.len()).context("handshake")? {
        Agreed::Transmission => transmission::serve(stream, disk, rate),
        Agreed::Abort => Ok(()),
    }
}
