// SPDX-License-Identifier: Apache-2.0
//! `vendor.dmabuf.loader-service`: the process that init starts; reads its options and registers
//! the service.

use std::sync::Arc;

use anyhow::{anyhow, bail, Context};
use binder::ProcessState;
use dmabuf_engine::{Engine, EngineConfig, FileSystems, PoolConfig};
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

/// What the command line in the `.rc` decides.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    pool: PoolConfig,
    file_systems: FileSystems,
}

/// Parses the command line:
/// - `--pool-mib N`: the pool holds up to N MiB of free buffers; with 0 the service has no pool. By
///   default the pool retains only small buffers, for the client that released them.
/// - `--file-system TYPE`, any number of times: clients' files may lie on file systems of this type,
///   too, whose server the device trusts to answer.
fn parse(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Options> {
    let mut pool = PoolConfig::SMALL_BUFFERS;
    let mut more_file_systems = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(option) = arguments.next() {
        let mut value =
            |what| arguments.next().with_context(|| format!("{option}: no value, expected {what}"));
        match option.as_str() {
            "--pool-mib" => {
                let value = value("a number of MiB")?;
                let mib: u32 = value
                    .parse()
                    .with_context(|| format!("--pool-mib: {value:?}, expected a number of MiB"))?;
                pool = PoolConfig::of_bytes(u64::from(mib) << 20);
            }
            "--file-system" => more_file_systems.push(value("a type of file system")?),
            _ => bail!("unknown argument {option:?}, expected --pool-mib N or --file-system TYPE"),
        }
    }
    let file_systems = FileSystems::without_server_and(more_file_systems);
    Ok(Options { pool, file_systems })
}

fn try_main() -> anyhow::Result<()> {
    let Options { pool, file_systems } = parse(std::env::args().skip(1))?;
    // A client's save must not end the service.
    ignore_file_size_limit().context("SIGXFSZ")?;
    ProcessState::set_thread_pool_max_thread_count(MAX_BINDER_THREADS);
    ProcessState::start_thread_pool();
    let engine = Engine::new(EngineConfig { file_systems, ..EngineConfig::new(false, pool) });
    if engine.heaps().is_empty() {
        bail!("no heap can be opened: /dev/dma_heap and /dev/udmabuf are missing or refused");
    }
    let declared = binder::is_declared(SERVICE_NAME)
        .map_err(|status| anyhow!("{status:?}"))
        .context("cannot ask the service manager")?;
    if !declared {
        bail!("{SERVICE_NAME} is not declared in the VINTF manifest");
    }
    let service = new_native_binder(Arc::new(engine));
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

    fn parsed(arguments: &[&str]) -> anyhow::Result<Options> {
        parse(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn the_pool_retains_small_buffers_by_default() {
        assert_eq!(parsed(&[]).unwrap().pool, PoolConfig::SMALL_BUFFERS);
        assert_eq!(parsed(&["--pool-mib", "0"]).unwrap().pool, PoolConfig::OFF);
        assert_eq!(parsed(&["--pool-mib", "64"]).unwrap().pool.max_bytes, 64 << 20);
        for wrong in [&["--pool-mib"][..], &["--pool-mib", "-1"], &["--pool", "1"]] {
            assert!(parsed(wrong).is_err());
        }
    }

    #[test]
    fn a_device_adds_file_systems() {
        let of = |more: &[&str]| {
            FileSystems::without_server_and(more.iter().map(|name| (*name).to_owned()))
        };
        assert_eq!(parsed(&[]).unwrap().file_systems, of(&[]));
        let arguments = ["--file-system", "fuse", "--pool-mib", "1", "--file-system", "9p"];
        assert_eq!(parsed(&arguments).unwrap().file_systems, of(&["fuse", "9p"]));
        assert!(parsed(&["--file-system"]).is_err());
    }
}
