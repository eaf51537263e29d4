// SPDX-License-Identifier: Apache-2.0
//! `vendor.dmabuf.loader-service`: the process that init starts; reads its options and registers
//! the service.

use std::sync::Arc;

use anyhow::{anyhow, bail, Context};
use binder::ProcessState;
use dmabuf_engine::{Engine, EngineConfig, PoolConfig};
use dmabuf_loader_hal::config::device_limits;
use dmabuf_loader_hal::service::{new_native_binder, SERVICE_NAME};
use dmabuf_uapi::signals::ignore_file_size_limit;

/// Binder threads besides the main one. A load blocks its thread, so this limits the loads in
/// progress.
const MAX_BINDER_THREADS: u32 = 7;

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

/// Parses the command line: with `--pool-mib N` the pool holds up to N MiB of free buffers, with 0
/// the service has no pool. By default the pool retains only small buffers, for the client that
/// released them.
fn pool_of(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<PoolConfig> {
    let arguments: Vec<String> = arguments.into_iter().collect();
    match arguments.as_slice() {
        [] => Ok(PoolConfig::SMALL_BUFFERS),
        [option, mib] if option == "--pool-mib" => {
            let mib: u32 = mib
                .parse()
                .with_context(|| format!("--pool-mib: {mib:?}, expected a number of MiB"))?;
            Ok(PoolConfig::of_bytes(u64::from(mib) << 20))
        }
        _ => bail!("unknown arguments {arguments:?}, expected none or --pool-mib N"),
    }
}

fn try_main() -> anyhow::Result<()> {
    let pool = pool_of(std::env::args().skip(1))?;
    // A client's save must not end the service.
    ignore_file_size_limit().context("SIGXFSZ")?;
    ProcessState::set_thread_pool_max_thread_count(MAX_BINDER_THREADS);
    ProcessState::start_thread_pool();
    let engine = Engine::new(EngineConfig::new(false, pool));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> anyhow::Result<PoolConfig> {
        pool_of(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn the_pool_retains_small_buffers_by_default() {
        assert_eq!(parsed(&[]).unwrap(), PoolConfig::SMALL_BUFFERS);
        assert_eq!(parsed(&["--pool-mib", "0"]).unwrap(), PoolConfig::OFF);
        assert_eq!(parsed(&["--pool-mib", "64"]).unwrap().max_bytes, 64 << 20);
        for wrong in [&["--pool-mib"][..], &["--pool-mib", "-1"], &["--pool", "1"]] {
            assert!(parsed(wrong).is_err());
        }
    }
}
