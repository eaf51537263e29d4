// SPDX-License-Identifier: Apache-2.0
//! The same interfaces over a unix socket, for machines without a binder driver. Fds are passed both ways.

use std::path::Path;

use rsbinder::rpc::FileDescriptorTransportMode as FdMode;
use rsbinder::{Client, Endpoint, FromIBinder, SIBinder, ServerGuard, StatusCode, Strong, Uri};

/// A server on a unix socket; it stops, and ends its sessions, when this is dropped.
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

/// Serves one service under a name on a socket at an absolute path, which must not exist.
///
/// Whoever may connect to the socket may call: keep it in a directory of the right mode.
///
/// # Errors
/// `BadValue` for a path that is not absolute UTF-8; else what binding the socket answers.
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
/// `NameNotFound` for another name, `BadType` for another interface; else what connecting answers.
pub fn connect_unix<T: FromIBinder + ?Sized>(
    socket: &Path,
    name: &str,
) -> std::result::Result<Strong<T>, StatusCode> {
    let client = Client::open_with(uri(socket)?, |options, _: &Endpoint| {
        options.fd_mode = Some(FdMode::Unix);
    })?;
    client.get(name)
}
