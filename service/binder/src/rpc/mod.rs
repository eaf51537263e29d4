// SPDX-License-Identifier: Apache-2.0
//! The same interfaces over a unix socket, for machines without a binder driver. Fds pass in both
//! directions.
//!
//! rsbinder's server serves the connections; which it gets, and how much each may send, is decided
//! here ([`Limits`]).

mod accept;
mod limits;
mod private_socket;
mod transport;

use std::path::Path;

use rsbinder::rpc::FileDescriptorTransportMode as FdMode;
use rsbinder::{Client, Endpoint, FromIBinder, SIBinder, StatusCode, Strong, Uri};

pub use accept::UnixServer;
pub use limits::Limits;

fn uri(socket: &Path) -> std::result::Result<Uri, StatusCode> {
    let socket = socket.to_str().ok_or(StatusCode::BadValue)?;
    Uri::parse(&format!("unix://{socket}?profile=android13plus")).map_err(|error| {
        log::error!("{socket}: {error}");
        StatusCode::BadValue
    })
}

/// Serves one service by name on a socket at a path, which must not exist.
///
/// The socket has mode 0600, whatever the umask of the process: only processes of the same user,
/// and root, may connect to it and call the service.
///
/// # Errors
/// The error of binding the socket.
pub fn serve_unix(
    socket: &Path,
    name: &str,
    service: SIBinder,
    limits: Limits,
) -> std::result::Result<UnixServer, StatusCode> {
    UnixServer::start(socket, name, service, limits)
}

/// Connects to a service that [`serve_unix`] serves, at an absolute path.
///
/// # Errors
/// `NameNotFound` for another name, `BadType` for another interface; `DeadObject` if the server has
/// as many connections as it serves; else the error of connecting.
pub fn connect_unix<T: FromIBinder + ?Sized>(
    socket: &Path,
    name: &str,
) -> std::result::Result<Strong<T>, StatusCode> {
    let client = Client::open_with(uri(socket)?, |options, _: &Endpoint| {
        options.fd_mode = Some(FdMode::Unix);
    })?;
    client.get(name)
}
