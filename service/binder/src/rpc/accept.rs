// SPDX-License-Identifier: Apache-2.0
//! A server on a unix socket: accepts connections as far as the limits permit.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rsbinder::entry::WireVersion;
use rsbinder::rpc::transport::UnixTransport;
use rsbinder::rpc::{FileDescriptorTransportMode as FdMode, RpcServer};
use rsbinder::{SIBinder, StatusCode};
use rustix::net::{shutdown, Shutdown};

use super::limits::{Limits, Permits};
use super::private_socket::{listen, PrivateDirectory, SocketName};
use super::transport::LimitedTransport;

/// How long the server waits if it cannot accept, for want of fds for example.
const PAUSE: Duration = Duration::from_millis(50);

/// A server on a unix socket. Dropping it ends its sessions and stops it.
#[must_use = "the server stops when this is dropped"]
pub struct UnixServer {
    server: Arc<RpcServer>,
    listener: Arc<UnixListener>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    _name: SocketName,
}

impl UnixServer {
    pub(super) fn start(
        socket: &Path,
        name: &str,
        service: SIBinder,
        limits: Limits,
    ) -> std::result::Result<Self, StatusCode> {
        let directory = PrivateDirectory::beside(socket)?;
        // rsbinder has no server without a listener of its own: nobody reaches this one.
        let server = RpcServer::setup_unix_server(directory.path("u"))?;
        server.set_android13plus(WireVersion::MAX.get());
        server.set_supported_fd_modes(&[FdMode::None, FdMode::Unix]);
        server.set_handshake_timeout(Some(limits.handshake));
        server.set_idle_timeout(Some(limits.idle));
        server.add_service(name, service)?;
        let (listener, name) = listen(&directory, socket)?;
        let listener = Arc::new(listener);
        let stopping = Arc::new(AtomicBool::new(false));
        let acceptor = Acceptor {
            server: Arc::clone(&server),
            listener: Arc::clone(&listener),
            stopping: Arc::clone(&stopping),
            permits: Permits::new(limits.connections),
            limits,
        };
        let thread = std::thread::Builder::new().name("rpc-accept".to_owned());
        let acceptor = Some(thread.spawn(move || acceptor.run())?);
        Ok(Self { server, listener, stopping, acceptor, _name: name })
    }
}

impl Drop for UnixServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the thread in accept(2).
        if let Err(errno) = shutdown(&*self.listener, Shutdown::Both) {
            log::warn!("cannot shut a listening socket down: {errno}");
        }
        if self.acceptor.take().is_some_and(|acceptor| acceptor.join().is_err()) {
            log::warn!("the thread that accepts connections has panicked");
        }
        self.server.terminate();
    }
}

struct Acceptor {
    server: Arc<RpcServer>,
    listener: Arc<UnixListener>,
    stopping: Arc<AtomicBool>,
    permits: Arc<Permits>,
    limits: Limits,
}

impl Acceptor {
    fn run(self) {
        loop {
            let accepted = self.listener.accept();
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            match accepted {
                Ok((stream, _)) => {
                    let Some(permit) = self.permits.take(self.limits.handshake) else {
                        // Closes the connection: its client sees that at once.
                        log::debug!("a connection too many is closed");
                        continue;
                    };
                    match UnixTransport::from_stream(stream) {
                        Ok(transport) => self.server.serve_connection(Box::new(
                            LimitedTransport::new(transport, self.limits.message_bytes, permit),
                        )),
                        Err(error) => log::debug!("an accepted connection failed: {error}"),
                    }
                }
                Err(error) => {
                    log::debug!("accept: {error}");
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}
