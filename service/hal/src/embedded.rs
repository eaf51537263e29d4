// SPDX-License-Identifier: Apache-2.0
//! The same service on a unix socket, for machines without a binder driver.

use std::path::Path;
use std::sync::Arc;

use anyhow::{anyhow, Context};
use binder::rpc::{serve_unix, Limits, UnixServer};
use binder::Interface;
use dmabuf_engine::{Engine, EngineConfig, PoolConfig};

use crate::config::default_limits;
use crate::service::{new_native_binder, SERVICE_NAME};

/// Serves on `socket` until the returned server is dropped. Buffers are memfds if the machine has
/// no dma-bufs.
///
/// # Errors
/// If the socket cannot be bound.
pub fn serve(socket: &Path) -> anyhow::Result<UnixServer> {
    serve_with(socket, Limits::default())
}

/// As [`serve`], with limits of the caller's choice.
///
/// # Errors
/// As for [`serve`].
pub fn serve_with(socket: &Path, limits: Limits) -> anyhow::Result<UnixServer> {
    let engine = Engine::new(EngineConfig::new(true, PoolConfig::OFF));
    let service = new_native_binder(Arc::new(engine), default_limits());
    serve_unix(socket, SERVICE_NAME, service.as_binder(), limits)
        .map_err(|status| anyhow!("{status}"))
        .with_context(|| format!("cannot serve on {}", socket.display()))
}
