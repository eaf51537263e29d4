// SPDX-License-Identifier: Apache-2.0
//! `vendor.dmabuf.loader-service`: the process that init starts; reads its options and registers
//! the service.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod options;

use std::sync::Arc;

use anyhow::{anyhow, bail, Context};
use binder::ProcessState;
use dmabuf_engine::{Engine, EngineConfig};
use dmabuf_loader_hal::config::{device_limits, MAX_THREADS};
use dmabuf_loader_hal::service::{new_native_binder, SERVICE_NAME};
use dmabuf_uapi::signals::ignore_file_size_limit;

use options::Options;

fn main() {
    start_log();
    std::panic::set_hook(Box::new(|info| log::error!("{info}")));
    if let Err(error) = try_main() {
        log::error!("{error:#}");
        std::process::exit(1);
    }
}

#[cfg(any(soong, target_os = "android"))]
fn start_log() {
    let config = android_logger::Config::default()
        .with_tag("dmabuf_loader")
        .with_max_level(log::LevelFilter::Info);
    android_logger::init_once(config);
}

#[cfg(not(any(soong, target_os = "android")))]
fn start_log() {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
}

fn try_main() -> anyhow::Result<()> {
    let Options { pool, heaps, file_systems } = Options::parse(std::env::args().skip(1))?;
    // A client's save must not end the service.
    ignore_file_size_limit().context("SIGXFSZ")?;
    ProcessState::set_thread_pool_max_thread_count(MAX_THREADS - 1);
    ProcessState::start_thread_pool();
    let config = EngineConfig { heaps, file_systems, ..EngineConfig::new(false, pool) };
    let engine = Engine::new(config);
    if engine.heaps().is_empty() {
        bail!("no heap can be opened: /dev/dma_heap and /dev/udmabuf are missing or refused");
    }
    let declared = binder::is_declared(SERVICE_NAME)
        .map_err(|status| anyhow!("{status:?}"))
        .context("cannot ask the service manager")?;
    if !declared {
        bail!("{SERVICE_NAME} is not declared in the VINTF manifest");
    }
    let service = new_native_binder(Arc::new(engine), device_limits());
    binder::add_service(SERVICE_NAME, (*service).as_binder())
        .map_err(|status| anyhow!("{status:?}"))
        .with_context(|| format!("cannot register {SERVICE_NAME}"))?;
    log::info!("serving {SERVICE_NAME}");
    ProcessState::join_thread_pool();
    bail!("the binder thread pool ended")
}
