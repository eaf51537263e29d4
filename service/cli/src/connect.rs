// SPDX-License-Identifier: Apache-2.0
//! Connecting to the service: the registered one, one on a unix socket, or an embedded one.

use dmabuf_loader_client::Loader;

use crate::args::ServiceArgs;
use crate::interrupt::Interrupt;

/// The kind of the registered service.
pub const BINDER: &str = "binder";

/// A connection, with the embedded service where the connection is to one.
pub struct Connection {
    /// The service.
    pub loader: Loader,
    /// The kind of service, for the output: `binder`, `socket` or `embedded`.
    pub service: &'static str,
    // Declared after `loader`: the session ends before the server stops.
    #[cfg(not(any(soong, target_os = "android")))]
    _embedded: Option<embedded::Embedded>,
}

/// Connects to the service that the options name; by default to the registered service, or to an
/// embedded one if none is registered.
#[cfg(not(any(soong, target_os = "android")))]
pub fn connect(args: &ServiceArgs, interrupt: &Interrupt) -> anyhow::Result<Connection> {
    if let Some(socket) = &args.socket {
        let loader = Loader::connect_unix(&std::path::absolute(socket)?)?;
        return Ok(Connection { loader, service: "socket", _embedded: None });
    }
    if !args.embedded {
        match Loader::check("default") {
            Ok(loader) => return Ok(Connection { loader, service: BINDER, _embedded: None }),
            Err(error) => log::info!("{error}; starting the service embedded"),
        }
    }
    let embedded = embedded::Embedded::start(interrupt)?;
    let loader = Loader::connect_unix(&embedded.socket())?;
    Ok(Connection { loader, service: "embedded", _embedded: Some(embedded) })
}

/// Connects to the registered service, the only one a device has.
#[cfg(any(soong, target_os = "android"))]
pub fn connect(args: &ServiceArgs, _: &Interrupt) -> anyhow::Result<Connection> {
    anyhow::ensure!(
        !args.embedded && args.socket.is_none(),
        "--embedded and --socket: a device has only the registered service"
    );
    Ok(Connection { loader: Loader::connect()?, service: BINDER })
}

#[cfg(not(any(soong, target_os = "android")))]
mod embedded {
    use std::path::PathBuf;

    use anyhow::Context;
    use binder::rpc::UnixServer;

    use crate::interrupt::Interrupt;

    /// The service in this process, on a socket that only this user can reach.
    pub struct Embedded {
        _server: UnixServer,
        directory: tempfile::TempDir,
    }

    impl Embedded {
        pub fn start(interrupt: &Interrupt) -> anyhow::Result<Self> {
            // A TempDir has mode 0700.
            let directory = interrupt
                .making(|| {
                    let directory = tempfile::tempdir()?;
                    let path = directory.path().to_owned();
                    Ok::<_, std::io::Error>((directory, path))
                })
                .context("cannot make a private directory for the socket")?;
            let server = dmabuf_loader_hal::embedded::serve(&directory.path().join("socket"))?;
            Ok(Self { _server: server, directory })
        }

        pub fn socket(&self) -> PathBuf {
            self.directory.path().join("socket")
        }
    }
}
