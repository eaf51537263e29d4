// SPDX-License-Identifier: Apache-2.0
//! The same interfaces over a unix socket, for machines without a binder driver. Fds pass in both
//! directions.

use std::path::Path;

use rsbinder::rpc::FileDescriptorTransportMode as FdMode;
use rsbinder::{Client, Endpoint, FromIBinder, SIBinder, ServerGuard, StatusCode, Strong, Uri};

/// A server on a unix socket. Dropping it ends its sessions and stops it.
#[must_use = "the server stops when this is dropped"]
pub struct UnixServer {
    _guard: ServerGuard,
}

fn uri(socket: &Path) -> std::result::Result<Uri, StatusCode> {
    let socket = socket.to_str().ok_or(StatusCode::BadValue)?;
    Uri::parse(&format!("unix://{socket}?profile=android13plus")).map_err(|error| {
        log::error!("{socket}: {error}");
        StatusCode::BadValue
    })
}

/// Serves one service by name on a socket at an absolute path, which must not exist.
///
/// Every process that may connect to the socket may call the service: restrict the mode of its
/// directory.
///
/// # Errors
/// `BadValue` if the path is not absolute UTF-8; else the error of binding the socket.
pub fn serve_unix(
    socket: &Path,
    name: &str,
    service: SIBinder,
) -> std::result::Result<UnixServer, StatusCode> {
    let server = rsbinder::serve(uri(socket)?)?
        .with(|options| options.fd_modes = Some(vec![FdMode::None, FdMode::Unix]))
        .add(name, service)?;
    Ok(UnixServer { _guard: server.spawn()? })
}

/// Connects to a service that [`serve_unix`] serves.
///
/// # Errors
/// `NameNotFound` for another name, `BadType` for another interface; else the error of connecting.
pub fn connect_unix<T: FromIBinder + ?Sized>(
    socket: &Path,
    name: &str,
) -> std::result::Result<Strong<T>, StatusCode> {
    let client = Client::open_with(uri(socket)?, |options, _: &Endpoint| {
        options.fd_mode = Some(FdMode::Unix);
    })?;
    client.get(name)
}
